"""Training items of stores, and their loading in batches."""
