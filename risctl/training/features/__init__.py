"""Computes the output of frozen encoders once, and trains from it."""
