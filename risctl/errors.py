"""The errors that a user can cause, each with the exit code that the command line ends with.

| code | error             | meaning                                                                      |
| ---- | ----------------- | ---------------------------------------------------------------------------- |
| 0    |                   | success                                                                      |
| 1    | `RisctlError`     | training failed, for example on a loss that is not finite                    |
| 2    | `UsageError`      | the command line or a call has arguments that cannot be used                 |
| 3    | `RecipeError`     | a recipe or an override is invalid                                           |
| 4    | `DataError`       | a dataset, store, image or download is missing or damaged                    |
| 5    | `MachineError`    | the machine lacks a device, a package, memory or disk space                  |
| 6    | `CheckpointError` | a checkpoint or published weights are missing, damaged or of another model   |
| 130  | `KeyboardInterrupt` | interrupted by Ctrl-C (SIGINT)                                             |
| 141  | `ClosedOutputError` | stdout was closed before all was printed, as by `| head`                   |
| 143  | `Terminated`      | terminated by SIGTERM, as schedulers do before they take a machine back      |

A run of `risctl train` that ends with 130 or 143 was saved first: `risctl train --resume RUN` continues it.

A message says what was expected, what came and what to do next; `unknown_name` adds the nearest known name.
"""

from __future__ import annotations

from collections.abc import Iterable

EXIT_CODES = {
    0: "success",
    1: "training failed",
    2: "usage",
    3: "recipe",
    4: "data",
    5: "environment",
    6: "checkpoint",
    130: "interrupted (Ctrl-C)",
    141: "stdout closed",
    143: "terminated (SIGTERM)",
}


class RisctlError(Exception):
    """Base of all errors that are shown to the user as one line, without a traceback."""

    exit_code = 1


class UsageError(RisctlError):
    """The command line or a call has arguments that cannot be used."""

    exit_code = 2


class RecipeError(RisctlError):
    """A recipe or an override is invalid.

    Attributes:
        problems: All problems found, one line each.
    """

    exit_code = 3

    def __init__(self, message: str, *, problems: Iterable[str] = ()) -> None:
        """Makes the error of `message`, its first line, and of all `problems`."""
        self.problems = tuple(problems)
        super().__init__("\n".join([message, *(f"  {problem}" for problem in self.problems)]))


class DataError(RisctlError):
    """A dataset, store, image or download is missing, damaged or not what it should be."""

    exit_code = 4


class UnreadableImageError(DataError):
    """An image of a store is missing, damaged or not what it should be.

    Attributes:
        image: Which image: its id, its file's name and its store.
    """

    def __init__(self, message: str, *, image: str = "") -> None:
        """Makes the error of `message` about `image`."""
        super().__init__(message)
        self.image = image


class MachineError(RisctlError):
    """The machine lacks something: a device, a package, memory, disk space."""

    exit_code = 5


class WorkerKilledError(MachineError):
    """A process that loads data was killed, for instance for want of memory."""


class CheckpointError(RisctlError):
    """A checkpoint or a set of published weights is missing, damaged or of another model."""

    exit_code = 6


class ClosedOutputError(RisctlError):
    """Standard output was closed before all was printed. The code is that of a program that SIGPIPE ends."""

    exit_code = 141


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Returns the known name most similar to `name`, or None if none is similar."""
    import difflib

    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> str:
    """Returns the message for an unknown `name`, with the nearest known name and all of them.

    Args:
        kind: What is named, for instance "split".
        name: The unknown name.
        known: All valid names.
    """
    names = sorted(known)
    match = nearest(name, names)
    hint = f"; did you mean {match!r}?" if match else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(names)}"
