"""Cached features: outputs of the frozen layers of encoders for images and texts, kept in HDF5."""
