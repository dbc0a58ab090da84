"""mini: detects objects, then selects the referred one. The model that the package ships."""
