"""Choosing among the boxes of an image, without pixels: samples, files, noise and batches."""
