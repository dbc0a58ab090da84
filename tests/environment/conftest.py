"""The command line, run in the tests' own process."""

from helpers.command_line import risctl

__all__ = ["risctl"]
