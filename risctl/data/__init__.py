"""Datasets: their records, stores, cached features, and loading for training."""
