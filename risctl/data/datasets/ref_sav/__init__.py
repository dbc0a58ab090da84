"""Ref-SAV: videos of SA-V with long and short expressions."""
