"""`risctl zeroshot`."""
