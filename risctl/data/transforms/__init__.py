"""Augmentation and preprocessing of samples."""
