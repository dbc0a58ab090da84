"""Visual and text encoders."""
