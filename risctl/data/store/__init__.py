"""The store: one HDF5 file that holds a dataset as published, for random access by many workers."""
