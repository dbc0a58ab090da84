"""Recipes: YAML to a validated, typed description of a training run."""
