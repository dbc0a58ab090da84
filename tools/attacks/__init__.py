"""Holds the attacks that `tools/attack.py` runs, a file each with `prepare`, `mutate`, `check` and `SUITE_COUNT`."""
