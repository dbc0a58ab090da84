"""Reads what a search may try: `KEY=VALUE,VALUE` chooses among values, `KEY=LOW..HIGH` within a range."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from risctl.errors import UsageError

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(:log)?")
_WHOLE = re.compile(r"[+-]?\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRange:
    """Numbers of which any may be tried.

    Attributes:
        low: The lowest.
        high: The highest.
        whole: Whether only whole numbers are.
        logarithmic: Whether they are drawn evenly on a logarithmic scale.
    """

    low: float
    high: float
    whole: bool
    logarithmic: bool

    def text(self, value: float) -> str:
        """Returns a number of the range as a recipe takes it, of five digits."""
        return str(int(value)) if self.whole else f"{min(max(float(f'{value:.5g}'), self.low), self.high):g}"


def range_of(key: str, values: Sequence[str]) -> ValueRange | None:
    """Returns the range that the values of a key are; None if they are values to choose among.

    Raises:
        UsageError: It is an empty range, one without a logarithm, or beside other values.
    """
    found = [_RANGE.fullmatch(value) for value in values]
    if not any(found):
        return None
    match = found[0]
    if len(values) > 1 or match is None:
        raise UsageError(f"--grid {key}: a range stands alone: {key}=LOW..HIGH or {key}=LOW..HIGH:log")
    low, high = float(match[1]), float(match[2])
    logarithmic = match[3] is not None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(f"--grid {key}: {values[0]} is empty; a range begins with the lower of two numbers")
    if logarithmic and low <= 0:
        raise UsageError(f"--grid {key}: {values[0]} has no logarithm; begin above 0, or leave out :log")
    whole = all(_WHOLE.fullmatch(match[part]) for part in (1, 2))
    return ValueRange(low=low, high=high, whole=whole, logarithmic=logarithmic)


def trial_values(key: str, values: Sequence[str]) -> tuple[str, ...]:
    """Returns values of a key that stand for all that a search may try: the choices, or both ends of the range."""
    found = range_of(key, values)
    return tuple(values) if found is None else (found.text(found.low), found.text(found.high))
