"""What is measurably so in a scene, each relation with a margin: surely, possibly, or surely not.

Sets of objects are integers, bit k for object k. A `Verdict` is the pair (objects of which it is surely so, objects of
which it is possibly so); an expression is fit only if both come down to the same single object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from risctl.data.datasets.scenes.layout import hide
from risctl.data.datasets.scenes.render import View

Verdict = tuple[int, int]

CLEAR_RATIO = 1.7
"""Areas (not sides) at least this far apart are called different sizes; those within its root are called alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """An object as it is seen. Lengths are shares of the picture's width (x) and height (y); areas are pixels.

    `box` (left, top, right, bottom) and `centre` (the centroid) are of the visible part; `aspect` is the picture's
    width by its height; `hidden` holds for every other object the share of this one's whole area that it covers.
    """

    category: str
    colour: str
    box: tuple[float, float, float, float]
    centre: tuple[float, float]
    aspect: float
    visible: int
    whole: int
    hidden: tuple[float, ...]

    def span(self, axis: int) -> tuple[float, float]:
        """Return the lowest and highest of centroid and middle of the box along an axis."""
        middle = (self.box[axis] + self.box[axis + 2]) / 2
        return min(middle, self.centre[axis]), max(middle, self.centre[axis])


def things_of(view: View) -> list[Thing]:
    """Return what is seen of every object of `view`, in its order."""
    height, width = view.owner.shape
    found = []
    for index, one in enumerate(view.things):
        mask = view.owner[one.top : one.bottom, one.left : one.right] == index
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        visible = int(np.count_nonzero(mask))
        whole = int(np.count_nonzero(one.sprite.solid))
        x = float(mask.sum(axis=0) @ (np.arange(mask.shape[1]) + 0.5)) / visible + one.left
        y = float(mask.sum(axis=1) @ (np.arange(mask.shape[0]) + 0.5)) / visible + one.top
        hidden = [0.0] * len(view.things)
        for position, other in enumerate(view.things):
            if position > index:
                seen = one.sprite.solid.copy()
                hide(seen, one, other)
                hidden[position] = 1 - int(np.count_nonzero(seen)) / whole
        found.append(
            Thing(
                category=one.plan.category,
                colour=one.plan.colour,
                box=(
                    (one.left + int(columns[0])) / width,
                    (one.top + int(rows[0])) / height,
                    (one.left + int(columns[-1]) + 1) / width,
                    (one.top + int(rows[-1]) + 1) / height,
                ),
                centre=(x / width, y / height),
                aspect=width / height,
                visible=visible,
                whole=whole,
                hidden=tuple(hidden),
            )
        )
    return found


def bits(members: Iterable[int]) -> int:
    """Return the set of `members`."""
    total = 0
    for member in members:
        total |= 1 << member
    return total


def members(chosen: int) -> list[int]:
    """Return the indices in the set `chosen`, ascending."""
    return [k for k in range(chosen.bit_length()) if chosen >> k & 1]


def _low(span: tuple[float, float], sure: float, never: float) -> int:
    """Return 2 if both ends of `span` are below `sure`, 0 if both are above `never`, else 1."""
    return 2 if span[1] < sure else 0 if span[0] > never else 1


def _high(span: tuple[float, float], sure: float, never: float) -> int:
    return _low((1 - span[1], 1 - span[0]), 1 - sure, 1 - never)


def _middle(one: Thing) -> int:
    low, high = one.span(0)
    if low > 0.41 and high < 0.59:
        return 2
    return 0 if high < 0.30 or low > 0.70 else 1


_SIDES: dict[str, Callable[[Thing], int]] = {
    "left": lambda one: _low(one.span(0), 0.40, 0.52),
    "right": lambda one: _high(one.span(0), 0.60, 0.48),
    "top": lambda one: _low(one.span(1), 0.42, 0.56),
    "bottom": lambda one: _high(one.span(1), 0.64, 0.50),
    "middle": _middle,
}
_TIGHTER: dict[str, Callable[[Thing], int]] = {
    "left": lambda one: _low(one.span(0), 0.36, 0.52),
    "right": lambda one: _high(one.span(0), 0.64, 0.48),
    "top": lambda one: _low(one.span(1), 0.40, 0.56),
    "bottom": lambda one: _high(one.span(1), 0.66, 0.50),
}
PLACES = (*_SIDES, "top left", "top right", "bottom left", "bottom right")
"""Where in the picture an expression may say that something is."""


def verdict(levels: Sequence[int]) -> Verdict:
    """Return the verdict of one level per object: 2 surely, 1 possibly, 0 surely not."""
    return bits(k for k, level in enumerate(levels) if level == 2), bits(k for k, level in enumerate(levels) if level)


def at_place(things: Sequence[Thing], place: str) -> Verdict:
    """Return what is at `place` of the picture."""
    sides = place.split()
    tests = [_SIDES[place]] if len(sides) == 1 else [_TIGHTER[side] for side in sides]
    return verdict([min(test(one) for test in tests) for one in things])


def _beside(one: Thing, other: Thing, axis: int) -> int:
    """Whether `one` lies before `other` along `axis` (left of, above): roughly level with it and apart."""
    across = 1 - axis
    (_, one_high), (other_low, _) = one.span(axis), other.span(axis)
    one_low, other_high = one.span(axis)[0], other.span(axis)[1]
    away = other_low - one_high
    off = abs(one.centre[across] - other.centre[across]) * (one.aspect if axis else 1 / one.aspect)
    overlap = one.box[axis + 2] - other.box[axis]
    least = min(one.box[axis + 2] - one.box[axis], other.box[axis + 2] - other.box[axis])
    if away > 0.07 and off < 0.7 * away and overlap < 0.25 * least:
        return 2
    return 0 if one_low > other_high - 0.01 or (one_low > other_high - 0.05 and off > 0.3) else 1


def _near(one: Thing, other: Thing) -> int:
    gap_x = max(one.box[0], other.box[0]) - min(one.box[2], other.box[2])
    gap_y = max(one.box[1], other.box[1]) - min(one.box[3], other.box[3])
    shorter = min(one.box[3] - one.box[1], other.box[3] - other.box[1])
    if -0.01 < gap_x < 0.06 and -gap_y > 0.5 * shorter:
        return 2
    return 0 if max(gap_x, gap_y) > 0.17 else 1


def _behind(one: Thing, other: Thing, position: int) -> int:
    """Whether `other` (index `position`) hides a good part of `one`."""
    if one.hidden[position] > 0.09:
        return 2
    apart = max(one.box[0], other.box[0]) - min(one.box[2], other.box[2]) > 0.03
    below = one.box[3] > other.box[3] + 0.02
    return 0 if one.hidden[position] == 0 and (apart or below) else 1


RELATIONS = ("left of", "right of", "next to", "behind", "in front of", "above", "below")
"""How an expression may relate one object to another."""


def in_relation(things: Sequence[Thing], relation: str, anchor: int) -> Verdict:
    """Return what stands in `relation` to the object `anchor`."""
    other = things[anchor]
    tests: dict[str, Callable[[int, Thing], int]] = {
        "left of": lambda k, one: _beside(one, other, 0),
        "right of": lambda k, one: _beside(other, one, 0),
        "above": lambda k, one: _beside(one, other, 1),
        "below": lambda k, one: _beside(other, one, 1),
        "next to": lambda k, one: _near(one, other),
        "behind": lambda k, one: _behind(one, other, anchor),
        "in front of": lambda k, one: _behind(other, one, k),
    }
    test = tests[relation]
    return verdict([0 if k == anchor else test(k, one) for k, one in enumerate(things)])


SIZE_WORDS = ("small", "large", "smallest", "largest")


def of_size(things: Sequence[Thing], word: str, among: int) -> Verdict:
    """Return which of the objects `among` are of the size `word`, compared with one another.

    Compared by what is seen and by what is there; where the two differ, it is only possibly so. An object that has no
    other to be compared with is possibly of any size.
    """
    chosen = members(among)
    if len(chosen) < 2:
        return 0, among
    one_way = [_sized([things[k].visible for k in chosen], word), _sized([things[k].whole for k in chosen], word)]
    levels = [0] * len(things)
    for k, first, second in zip(chosen, *one_way, strict=True):
        levels[k] = first if first == second else 1
    return verdict(levels)


def _sized(areas: list[int], word: str) -> list[int]:
    if word in ("large", "largest"):
        areas = [1_000_000_000 // area for area in areas]
    low, high = min(areas), max(areas)
    if word in ("smallest", "largest"):
        second = sorted(areas)[1]
        clear = second >= CLEAR_RATIO * low
        return [2 if area == low and clear else 0 if area >= CLEAR_RATIO * low else 1 for area in areas]
    alike = CLEAR_RATIO**0.5
    # Of 1, 2 and 5 the middle one is neither: what is not small must also be in the upper half, in ratio.
    upper = max(CLEAR_RATIO * low, 1.1 * (low * high) ** 0.5)
    return [2 if area <= alike * low and high >= CLEAR_RATIO * area else 0 if area >= upper else 1 for area in areas]


def in_order(things: Sequence[Thing], rank: int, side: str, among: int) -> Verdict:
    """Return which of the objects `among` is number `rank` (from 1) counted from the `side` left or right."""
    chosen = members(among)
    if rank > len(chosen):
        return 0, 0
    spans = sorted((things[k].span(0), k) for k in chosen)
    if any(after[0][0] - before[0][1] < 0.07 for before, after in pairwise(spans)):
        return 0, among
    found = 1 << spans[rank - 1 if side == "left" else -rank][1]
    return found, found
