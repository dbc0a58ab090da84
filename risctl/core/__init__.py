"""Encoders, fusion, heads and losses: modules built from numbers and modules, which know no system."""
