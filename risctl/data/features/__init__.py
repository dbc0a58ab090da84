"""Features computed once: what the frozen parts of encoders make of pictures and texts, kept in HDF5."""
