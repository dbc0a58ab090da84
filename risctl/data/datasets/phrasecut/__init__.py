"""PhraseCut."""
