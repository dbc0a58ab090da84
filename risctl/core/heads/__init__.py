"""Heads: detection, boxes and masks."""
