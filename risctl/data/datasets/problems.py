"""Counts the defects of published files: each is repaired, or refused unless the user allows its loss.

A repair is always made and counted in the dataset's notes. A loss (a ref or image that cannot be used) is refused,
unless the user allows it; then it is left out and counted too.
"""

from __future__ import annotations

from typing import Literal

from risctl.errors import DataError

OnMissing = Literal["refuse", "drop"]

_MAX_EXAMPLES = 3


class Problems:
    """The defects found so far; `losses` and `repairs` are counts by name."""

    def __init__(self) -> None:
        self.losses: dict[str, int] = {}
        self.repairs: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def lose(self, what: str, example: object) -> None:
        """Counts something that cannot be used; `example` names it."""
        self.losses[what] = self.losses.get(what, 0) + 1
        self._name(what, example)

    def repair(self, what: str, example: object) -> None:
        """Counts something that was repaired; `what` says how."""
        self.repairs[what] = self.repairs.get(what, 0) + 1
        self._name(what, example)

    def _name(self, what: str, example: object) -> None:
        examples = self._examples.setdefault(what, [])
        if len(examples) < _MAX_EXAMPLES:
            examples.append(str(example))

    def described(self, what: str) -> str:
        """Returns `what` with its count and the first few examples."""
        count = self.losses.get(what, 0) + self.repairs.get(what, 0)
        named = ", ".join(self._examples[what]) + (", ..." if count > _MAX_EXAMPLES else "")
        return f"{count:,} {what} ({named})"

    def refuse_losses(self, source: str) -> None:
        """Raises `DataError` with all losses, if there are any."""
        if self.losses:
            found = "; ".join(self.described(what) for what in self.losses)
            raise DataError(f"{source}: {found}. Complete the files, or leave these out with --allow-missing")

    def notes(self) -> dict[str, int]:
        """Returns the counts for the dataset's notes."""
        return {f"{what}, left out": count for what, count in self.losses.items()} | self.repairs
