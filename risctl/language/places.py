"""What a phrase is about and where it says to look, by simple rules over its words.

"the second zebra from the left": the zebra, second by how far to the left. The rules know no grammar: what is meant is
the last plain word before the first that begins a relation ("of", "with", "wearing", …).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
_RELATIONS = frozenset(_RELATIONS_TEXT.split())
_PLAIN = frozenset(_PLAIN_TEXT.split())
_COLOURS = frozenset(_COLOURS_TEXT.split())
_PLACING = frozenset(name for names in SIDES.values() for name in names) | RANKS.keys()
RULE_WORDS = tuple(sorted(_PLACING | _RELATIONS | _PLAIN | _COLOURS))
"""The words that the rules go by; a vocabulary needs them, with or without vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a phrase says about where: names of `SIDES`, and which one in that order, counted from 1."""

    sides: tuple[str, ...]
    rank: int


def place_of(words: Sequence[str]) -> Place:
    """Return the place that `words` name; no sides and rank 1 if they name none."""
    sides = tuple(side for side, names in SIDES.items() if any(word in names for word in words))
    ranks = [RANKS[word] for word in words if word in RANKS]
    return Place(sides=sides, rank=ranks[0] if ranks else 1)


def head_of(words: Sequence[str], *, is_known: Callable[[str], bool], is_class: Callable[[str], bool]) -> int | None:
    """Return the index of the word that says what `words` are about; None if no word could.

    Within the part before the first relation that names anything, the last class name wins over the last other known
    word, and that over a colour ("the orange").
    """
    for begin, end in _parts(words):
        named = [index for index in range(begin, end) if is_known(words[index]) and words[index] not in _PLAIN]
        named = [index for index in named if words[index] not in _PLACING]
        for choice in (
            [index for index in named if is_class(words[index]) and words[index] not in _COLOURS],
            [index for index in named if words[index] not in _COLOURS],
            named,
        ):
            if choice:
                return choice[-1]
    return None


def _parts(words: Sequence[str]) -> list[tuple[int, int]]:
    parts, begin = [], 0
    for index, word in enumerate(words):
        if word in _RELATIONS:
            parts.append((begin, index))
            begin = index + 1
    parts.append((begin, len(words)))
    return parts
