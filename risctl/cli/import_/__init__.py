"""`risctl import`."""
