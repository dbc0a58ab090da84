"""Reads and writes checkpoints, and imports published weights."""
