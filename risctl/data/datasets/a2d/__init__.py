"""A2D-Sentences and JHMDB-Sentences."""
