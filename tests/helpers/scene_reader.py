"""A second opinion on scenes: reads expressions back and judges them on masks, sharing no code with their maker.

The maker demands margins; this reader has none. Whatever the maker lets pass, the reader must understand the same way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

NOUNS = {
    "mug": "cup",
    "seat": "chair",
    "puppy": "dog",
    "kitty": "cat",
    "sailboat": "boat",
    "object": "thing",
    "one": "thing",
}
COLOURS = ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "gray", "grey"]
SIZES = {"small": "small", "little": "small", "big": "large", "large": "large"}
SIZES |= {"smallest": "smallest", "biggest": "largest", "largest": "largest"}
COUNTS = {"first": 1, "1st": 1, "second": 2, "2nd": 2, "third": 3, "3rd": 3, "fourth": 4, "4th": 4}
RELATIONS = {
    "to the left of": "left of",
    "left of": "left of",
    "to the right of": "right of",
    "right of": "right of",
    "right next to": "next to",
    "next to": "next to",
    "beside": "next to",
    "partly behind": "behind",
    "behind": "behind",
    "in front of": "in front of",
    "above": "above",
    "over": "above",
    "below": "below",
    "under": "below",
    "beneath": "below",
}
ANIMALS = {"dog", "cat", "fish", "bird"}
PLACE = "top left|top right|bottom left|bottom right|left|right|top|bottom|middle|center"


@dataclass
class Meaning:
    """What an expression says, as far as this reader understands it."""

    noun: str = ""
    colour: str | None = None
    size: str | None = None
    place: str | None = None
    order: tuple[int, str] | None = None
    relation: tuple[str, Meaning] | None = None


def read(text: str) -> Meaning:
    """Return the meaning of `text`; raises ValueError if a word of it cannot be placed."""
    text = text.removeprefix("the ")
    links = "|".join(sorted(RELATIONS, key=len, reverse=True))
    if found := re.fullmatch(rf"(.+?) (?:that is )?({links}) (.+)", text):
        meaning = read(found[1])
        meaning.relation = (RELATIONS[found[2]], read(found[3]))
        return meaning
    counts = "|".join(COUNTS)
    if found := re.fullmatch(r"(left|right)most (.+)", text):
        return _with(read(found[2]), order=(1, found[1]))
    if found := re.fullmatch(r"(.+) (?:farthest|furthest) to the (left|right)", text):
        return _with(read(found[1]), order=(1, found[2]))
    if found := re.fullmatch(rf"({counts}) (.+) from (?:the )?(left|right)", text):
        return _with(read(found[2]), order=(COUNTS[found[1]], found[3]))
    if found := re.fullmatch(rf"(.+) ({counts}) from (?:the )?(left|right)", text):
        return _with(read(found[1]), order=(COUNTS[found[2]], found[3]))
    if found := re.fullmatch(rf"(.+) (?:in|on|at|near) (?:the )?({PLACE})(?: side| corner)?", text):
        return _with(read(found[1]), place=found[2].replace("center", "middle"))
    if found := re.fullmatch(rf"({PLACE}) (.+)", text):
        return _with(read(found[2]), place=found[1].replace("center", "middle"))
    meaning = Meaning()
    for word in text.replace("that is ", "").split():
        if word in COLOURS:
            meaning.colour = word.replace("grey", "gray")
        elif word in SIZES:
            meaning.size = SIZES[word]
        elif meaning.noun:
            raise ValueError(f"two nouns in {text!r}")
        else:
            meaning.noun = NOUNS.get(word, word)
    if not meaning.noun:
        raise ValueError(f"no noun in {text!r}")
    return meaning


def _with(meaning: Meaning, **more: object) -> Meaning:
    for name, value in more.items():
        setattr(meaning, name, value)
    return meaning


@dataclass
class Eye:
    """A scene as masks (N, H, W) bool of what is seen, kinds, colours; `covered[o, a]`: pixels of o that a covers."""

    masks: np.ndarray
    kinds: list[str]
    colours: list[str]
    covered: np.ndarray | None = None
    areas: np.ndarray = field(init=False)
    x: np.ndarray = field(init=False)
    y: np.ndarray = field(init=False)
    boxes: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.areas = self.masks.sum(axis=(1, 2))
        grids = [np.nonzero(mask) for mask in self.masks]
        self.y = np.array([rows.mean() for rows, _ in grids])
        self.x = np.array([columns.mean() for _, columns in grids])
        self.boxes = np.array([(c.min(), r.min(), c.max() + 1, r.max() + 1) for r, c in grids])

    def fitting(self, meaning: Meaning) -> set[int]:
        """Return the indices of what `meaning` fits."""
        chosen = {
            k
            for k, kind in enumerate(self.kinds)
            if (meaning.noun in ("thing", kind) or (meaning.noun == "animal" and kind in ANIMALS))
            and meaning.colour in (None, self.colours[k])
        }
        likes = set(chosen)
        if meaning.place:
            chosen = {k for k in chosen if self._at(k, meaning.place)}
        if meaning.relation:
            relation, anchor = meaning.relation
            anchors = self.fitting(anchor)
            if len(anchors) != 1:
                return set(range(len(self.kinds)))
            other = anchors.pop()
            chosen = {k for k in chosen if k != other and self._related(k, relation, other)}
        if meaning.order:
            rank, side = meaning.order
            row = sorted(likes, key=lambda k: self.x[k], reverse=side == "right")
            chosen = chosen & set(row[rank - 1 : rank])
        if meaning.size and chosen:
            chosen = self._of_size(meaning.size, chosen, likes)
        return chosen

    def _at(self, k: int, place: str) -> bool:
        height, width = self.masks.shape[1:]
        x, y = self.x[k] / width, self.y[k] / height
        tests = {"left": x < 0.46, "right": x > 0.54, "top": y < 0.48, "bottom": y > 0.57, "middle": 0.35 < x < 0.65}
        return all(tests[side] for side in place.split())

    def _related(self, k: int, relation: str, other: int) -> bool:
        height, width = self.masks.shape[1:]
        across, down = self.x[k] - self.x[other], self.y[k] - self.y[other]
        one, two = self.boxes[k], self.boxes[other]
        if relation in ("left of", "right of"):
            away = -across if relation == "left of" else across
            return bool(away > 0.03 * width and away > abs(down))
        if relation in ("above", "below"):
            away = -down if relation == "above" else down
            return bool(away > 0.03 * height and away > abs(across))
        if relation == "next to":
            gap = max(one[0], two[0]) - min(one[2], two[2])
            shared = min(one[3], two[3]) - max(one[1], two[1])
            return bool(gap < 0.1 * width and shared > 0.4 * min(one[3] - one[1], two[3] - two[1]))
        assert self.covered is not None
        hidden = self.covered[k, other] if relation == "behind" else self.covered[other, k]
        return bool(hidden > 20)

    def _of_size(self, size: str, chosen: set[int], likes: set[int]) -> set[int]:
        areas = {k: int(self.areas[k]) for k in likes}
        if size == "smallest":
            return {min(chosen, key=lambda k: areas[k])}
        if size == "largest":
            return {max(chosen, key=lambda k: areas[k])}
        middle = (min(areas.values()) * max(areas.values())) ** 0.5
        return {k for k in chosen if (areas[k] < middle) == (size == "small")}
