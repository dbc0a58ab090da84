"""Writes masks with their phrases in the formats that annotation tools open, one file a format."""
