"""Reads where an expression says its object is: sides, corners, the middle, and a rank in a row (second from left)."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SIDES = {
    "left": (-1.0, 0.0),
    "leftmost": (-1.0, 0.0),
    "right": (1.0, 0.0),
    "rightmost": (1.0, 0.0),
    "top": (0.0, -1.0),
    "upper": (0.0, -1.0),
    "bottom": (0.0, 1.0),
    "lower": (0.0, 1.0),
}
_MIDDLE = frozenset({"middle", "center", "centre", "central"})
_NUMBERS = {
    "first": 1,
    "1st": 1,
    "second": 2,
    "2nd": 2,
    "third": 3,
    "3rd": 3,
    "fourth": 4,
    "4th": 4,
    "fifth": 5,
    "5th": 5,
}
_ROW = re.compile(rf"\b({'|'.join(_NUMBERS)})\b(?:\s+\w+){{0,3}}?\s+from\s+(?:the\s+)?({'|'.join(_SIDES)})\b")
# "the man left of the tree" says where the tree is not.
_RELATION = re.compile(r"\b(?:to |on |at )?(?:the )?(left|right|top|bottom) (?:side )?of\b")


@dataclass(frozen=True, slots=True)
class Place:
    """The location that an expression names.

    Attributes:
        direction: (x, y), each -1, 0 or 1, to the right and downwards.
        middle: Whether it is said to be in the middle.
        order: Its rank, counted from where `direction` points; None if not said.
    """

    direction: tuple[float, float] = (0.0, 0.0)
    middle: bool = False
    order: int | None = None

    def __bool__(self) -> bool:
        return self.middle or self.direction != (0.0, 0.0)


def place_of(text: str) -> Place:
    """Returns the location in the image that `text` names; an empty (false) one if it names none."""
    lowered = text.lower()
    row = _ROW.search(lowered)
    if row:
        return Place(direction=_SIDES[row[2]], order=_NUMBERS[row[1]])
    words = re.findall(r"[a-z]+", _RELATION.sub(" ", lowered))
    x = sum(_SIDES[word][0] for word in words if word in _SIDES)
    y = sum(_SIDES[word][1] for word in words if word in _SIDES)
    direction = (float((x > 0) - (x < 0)), float((y > 0) - (y < 0)))
    return Place(direction=direction, middle=any(word in _MIDDLE for word in words))
