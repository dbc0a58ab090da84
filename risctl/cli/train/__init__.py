"""`risctl train`."""
