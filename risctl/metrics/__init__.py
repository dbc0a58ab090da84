"""Computes figures of masks under named protocols; knows no model."""
