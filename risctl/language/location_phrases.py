"""Reads locations and ranks from phrases, by simple rules over their words.

"the second zebra from the left": second by how far to the left. The rules know no grammar: words belong together up to
the next one that begins a relation ("of", "with", "wearing", …).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SIDES: dict[str, tuple[str, ...]] = {
    "left": ("left", "leftmost", "lefthand", "lft"),
    "right": ("right", "rightmost", "righthand", "rt"),
    "top": ("top", "upper", "topmost", "uppermost", "above", "back", "far", "farthest", "furthest"),
    "bottom": ("bottom", "lower", "lowest", "lowermost", "below", "front", "near", "nearest", "closest", "foreground"),
    "middle": ("middle", "center", "centre", "central"),
    "large": ("big", "bigger", "biggest", "large", "larger", "largest", "huge", "tall", "tallest"),
    "small": ("small", "smaller", "smallest", "little", "tiny", "littlest", "short", "shortest"),
}
RANKS: dict[str, int] = {"first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}
_RELATIONS_TEXT = (
    "of with in on at by from to next beside behind near under over between holding wearing that who which whose "
    "is are has having sitting standing facing looking riding eating against inside around and"
)
_PLAIN_TEXT = "the a an this that these those his her their its one ones thing guy's side hand corner most"
_COLOURS_TEXT = "red green blue yellow white black brown grey gray orange pink purple beige tan silver dark light"
_STRENGTHENING = frozenset({"far", "farthest", "furthest"})
_RELATIONS = frozenset(_RELATIONS_TEXT.split())
_PLAIN = frozenset(_PLAIN_TEXT.split())
COLOURS = frozenset(_COLOURS_TEXT.split())
_PLACING = frozenset(name for names in SIDES.values() for name in names) | RANKS.keys()
RULE_WORDS = tuple(sorted(_PLACING | _RELATIONS | _PLAIN | COLOURS))
"""The words that the rules go by; a vocabulary needs them, with or without vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The location that a phrase names.

    Attributes:
        sides: Names of `SIDES`.
        rank: The rank in that order, counted from 1.
    """

    sides: tuple[str, ...]
    rank: int


def place_of(words: Sequence[str]) -> Place:
    """Returns the location that `words` name; no sides and rank 1 if they name none."""
    said = [word for number, word in enumerate(words) if not _only_strengthens(words, number)]
    sides = tuple(side for side, names in SIDES.items() if any(word in names for word in said))
    ranks = [RANKS[word] for word in words if word in RANKS]
    return Place(sides=sides, rank=ranks[0] if ranks else 1)


def is_plain(word: str) -> bool:
    """Returns whether a word never says what a phrase is about: the, one, side."""
    return word in _PLAIN


def is_placing(word: str) -> bool:
    """Returns whether a word says where or which: left, biggest, second."""
    return word in _PLACING


def parts_of(words: Sequence[str]) -> list[list[str]]:
    """Returns the groups of words between those that begin a relation, which are in no group."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word in _RELATIONS:
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if part]


def _only_strengthens(words: Sequence[str], number: int) -> bool:
    """Returns whether the word far only strengthens the side after it: far left is no word of distance."""
    return words[number] in _STRENGTHENING and any(
        word in SIDES["left"] or word in SIDES["right"] for word in words[number + 1 : number + 2]
    )
