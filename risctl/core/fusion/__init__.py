"""Modules that fuse image and text features."""
