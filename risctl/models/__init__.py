"""Models by name: risctl's own and those of transformers, behind one interface."""
