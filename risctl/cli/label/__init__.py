"""`risctl label`."""
