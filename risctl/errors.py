"""Every error a user can cause, with the exit code the command line gives it.

A message is one clear line: what was expected, what came, what to do next. `nearest` finds the known name that a
mistyped one most resembles.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RisctlError(Exception):
    """Base of all errors shown to the user as one line, without a traceback."""

    exit_code = 1


class UsageError(RisctlError):
    """The command line or a call was given arguments that cannot be used (exit code 2)."""

    exit_code = 2


class RecipeError(RisctlError):
    """A recipe or an override is invalid (exit code 3). `problems` lists all of them, one line each."""

    exit_code = 3

    def __init__(self, message: str, *, problems: Iterable[str] = ()) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join([message, *(f"  {problem}" for problem in self.problems)]))


class DataError(RisctlError):
    """A dataset, store, picture or download is missing, damaged or not what it should be (exit code 4)."""

    exit_code = 4


class MachineError(RisctlError):
    """The machine lacks something: a device, a package, disk space (exit code 5)."""

    exit_code = 5


class CheckpointError(RisctlError):
    """A checkpoint or a set of published weights is missing, damaged or of another model (exit code 6)."""

    exit_code = 6


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `name`, or None if none is like it."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Return the message for an unknown `name`: the nearest known one, and all of them."""
    names = sorted(known)
    match = nearest(name, names)
    hint = f"; did you mean {match!r}?" if match else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}"
