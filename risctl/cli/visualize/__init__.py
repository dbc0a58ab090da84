"""`risctl visualize`."""
