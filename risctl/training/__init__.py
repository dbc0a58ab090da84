"""Trains a system from a recipe, and resumes runs exactly."""
