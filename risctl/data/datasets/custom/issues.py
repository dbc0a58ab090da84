"""Collects the problems of a custom dataset file, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from risctl.errors import nearest

MOST_KEPT = 10_000
"""Problems, and warnings, that are kept of a file; further ones are counted."""


class Location(NamedTuple):
    """Where an entry of a file begins: its line, counted from 1, and its name where lines alone are ambiguous."""

    line: int
    entry: str = ""

    def __str__(self) -> str:
        return f"{self.entry} (line {self.line})" if self.entry else f"line {self.line}"


@dataclass(frozen=True, slots=True)
class Issue:
    """A problem or a warning, with its line."""

    line: int
    message: str


@dataclass(slots=True)
class Issues:
    """Everything that was found: `problems` make the file unusable, `warnings` do not.

    Attributes:
        problems: The first `MOST_KEPT` problems.
        warnings: The first `MOST_KEPT` warnings.
        problem_count: How many problems there are.
        warning_count: How many warnings there are.
    """

    problems: list[Issue] = field(default_factory=list)
    warnings: list[Issue] = field(default_factory=list)
    problem_count: int = 0
    warning_count: int = 0
    _ignored: set[tuple[str, ...]] = field(default_factory=set)

    def problem(self, location: Location, message: str) -> None:
        """Adds a problem, which must be repaired."""
        self.problem_count += 1
        if self.problem_count <= MOST_KEPT:
            self.problems.append(_issue(location, message))

    def warn(self, location: Location, message: str) -> None:
        """Adds a warning: something that is probably not intended."""
        self.warning_count += 1
        if self.warning_count <= MOST_KEPT:
            self.warnings.append(_issue(location, message))

    def add(self, others: Issues) -> None:
        """Adds the problems and warnings of others."""
        self.problems += others.problems[: MOST_KEPT - len(self.problems)]
        self.warnings += others.warnings[: MOST_KEPT - len(self.warnings)]
        self.problem_count += others.problem_count
        self.warning_count += others.warning_count

    def keys(self, location: Location, found: Iterable[str], known: Sequence[str]) -> None:
        """Adds unknown keys: one like a known key is a problem, any other a single warning."""
        for key in found:
            if key in known or (key, *known) in self._ignored:
                continue
            near = nearest(key, known)
            if near:
                self.problem(location, f"unknown key {key!r}; did you mean {near!r}?")
            elif len(self._ignored) < MOST_KEPT:
                self._ignored.add((key, *known))
                self.warn(
                    location, f"unknown key {key!r}, ignored here and wherever it stands; known: {', '.join(known)}"
                )


def _issue(location: Location, message: str) -> Issue:
    return Issue(location.line, f"{location.entry}: {message}" if location.entry else message)
