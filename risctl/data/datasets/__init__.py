"""The datasets that risctl knows, one folder a family: a descriptor, and a reader of the published format."""
