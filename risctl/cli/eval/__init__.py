"""`risctl eval`."""
