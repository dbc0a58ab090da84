"""`risctl predict`."""
