"""The datasets that REFER publishes, and gRefCOCO."""
