"""Swaps left and right in a text, for images that are mirrored in training."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

# "right" stands for the side even where it could mean "correct": in phrases that refer to objects in an image it hardly
# ever does. Words such as "bright" or "upright" are other words and stay.
_PAIRS = (
    ("left", "right"),
    ("lefts", "rights"),
    ("lefty", "righty"),
    ("leftmost", "rightmost"),
    ("leftest", "rightest"),
    ("leftish", "rightish"),
    ("lefthand", "righthand"),
    ("lefthanded", "righthanded"),
    ("leftside", "rightside"),
    ("leftward", "rightward"),
    ("leftwards", "rightwards"),
    *(
        (f"{place}left", f"{place}right")
        for place in ("top", "bottom", "upper", "lower", "far", "mid", "back", "front")
    ),
    ("lft", "rgt"),
    ("lh", "rh"),
    ("lhs", "rhs"),
    ("l", "r"),
)
_OTHER = {**dict(_PAIRS), **{right: left for left, right in _PAIRS}}
_LETTERS = re.compile("left|right")
_WORD = re.compile(r"[^\W\d_]+")
# Beside these a single letter is part of something else: "l'eau", "R&B", "r2".
_JOINERS = frozenset("'’&")


def swap_left_right(text: str) -> str:
    """Returns `text` with left and right exchanged in every word that names a side.

    Words in lower, Title or UPPER case keep their case, and swapping twice gives the text back; a word in mixed case
    ("LeftMost") comes out in lower case. "l" and "r" count where they stand alone.
    """

    def swapped(match: re.Match[str]) -> str:
        word = match.group()
        other = _OTHER.get(word.lower())
        if other is None or (len(word) == 1 and _is_joined(text, match)):
            return word
        if word.isupper():
            return other.upper()
        return other.capitalize() if word == word.capitalize() else other

    return _WORD.sub(swapped, text)


def swap_letters(text: str) -> str:
    """Returns `text` with the letters "left" and "right" exchanged wherever they stand, within words too.

    So does ReferFormer's published code (transforms_video.py, RandomHorizontalFlip), by which "bright" becomes "bleft".
    """
    return _LETTERS.sub(lambda match: "right" if match.group() == "left" else "left", text)


Swap = Callable[[str], str]
SWAPS: Mapping[str, Swap] = {"words": swap_left_right, "letters": swap_letters}
"""How the text of a mirrored image is changed, by the name in recipes (`data.augment.flip_text`)."""


def _is_joined(text: str, match: re.Match[str]) -> bool:
    neighbours = text[max(match.start() - 1, 0) : match.start()] + text[match.end() : match.end() + 1]
    return any(neighbour in _JOINERS or neighbour.isalnum() or neighbour == "_" for neighbour in neighbours)
