"""Sources of mask proposals."""
