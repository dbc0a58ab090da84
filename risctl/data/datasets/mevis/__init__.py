"""MeViS and its second version: videos with expressions of motion, about several objects or none."""
