"""What is wrong with a file of a user's own, line by line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from risctl.errors import nearest


class Place(NamedTuple):
    """Where an entry of a file begins: its line (the first is 1), and its name where lines alone do not tell."""

    line: int
    entry: str = ""

    def __str__(self) -> str:
        return f"{self.entry} (line {self.line})" if self.entry else f"line {self.line}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something found in the `line` of a file."""

    line: int
    message: str


@dataclass(slots=True)
class Findings:
    """All that was found: `problems` make the file unusable, `warnings` do not."""

    problems: list[Finding] = field(default_factory=list)
    warnings: list[Finding] = field(default_factory=list)
    _ignored: set[tuple[str, ...]] = field(default_factory=set)

    def problem(self, place: Place, message: str) -> None:
        """Notes what must be mended."""
        self.problems.append(_finding(place, message))

    def warn(self, place: Place, message: str) -> None:
        """Notes what is probably not meant."""
        self.warnings.append(_finding(place, message))

    def keys(self, place: Place, found: Iterable[str], known: Sequence[str]) -> None:
        """Notes keys that are not known: one like a known key is a mistake, any other is the user's own affair."""
        for key in found:
            if key in known:
                continue
            near = nearest(key, known)
            if near:
                self.problem(place, f"unknown key {key!r}; did you mean {near!r}?")
            elif (key, *known) not in self._ignored:
                self._ignored.add((key, *known))
                self.warn(place, f"unknown key {key!r}, ignored here and wherever it stands; known: {', '.join(known)}")


def _finding(place: Place, message: str) -> Finding:
    return Finding(place.line, f"{place.entry}: {message}" if place.entry else message)
