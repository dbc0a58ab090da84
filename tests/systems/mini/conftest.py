"""Fixtures of the tests of mini."""

from helpers.command_line import risctl

__all__ = ["risctl"]
