"""The `risctl prepare` commands."""
