"""Examines the machine, the installation and the caches."""
