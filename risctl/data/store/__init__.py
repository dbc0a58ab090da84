"""The store: one HDF5 file that holds a dataset as it came, to be read at random by many workers."""
