"""Measures which relations hold in a scene, each with a margin: surely, possibly, or surely not.

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
class SceneObject:
    """An object as it is visible. Lengths are shares of the image's width (x) and height (y); areas are pixels.

    Attributes:
        category: Its category.
        colour: Its colour.
        box: (left, top, right, bottom) of the visible part.
        centre: The centroid of the visible part.
        aspect: The image's width by its height.
        visible_area: The area of the visible part.
        full_area: Its area if nothing hid it.
        hidden: For every other object the share of this one's full area that it covers.
    """

    category: str
    colour: str
    box: tuple[float, float, float, float]
    centre: tuple[float, float]
    aspect: float
    visible_area: int
    full_area: int
    hidden: tuple[float, ...]

    def span(self, axis: int) -> tuple[float, float]:
        """Returns the lowest and highest of centroid and middle of the box along an axis."""
        middle = (self.box[axis] + self.box[axis + 2]) / 2
        return min(middle, self.centre[axis]), max(middle, self.centre[axis])


def scene_objects(view: View) -> list[SceneObject]:
    """Returns the objects of `view` as they are visible, in its order."""
    height, width = view.index_map.shape
    found = []
    for index, one in enumerate(view.objects):
        mask = view.index_map[one.top : one.bottom, one.left : one.right] == index
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        visible_area = int(np.count_nonzero(mask))
        full_area = int(np.count_nonzero(one.sprite.solid))
        x = float(mask.sum(axis=0) @ (np.arange(mask.shape[1]) + 0.5)) / visible_area + one.left
        y = float(mask.sum(axis=1) @ (np.arange(mask.shape[0]) + 0.5)) / visible_area + one.top
        hidden = [0.0] * len(view.objects)
        for position, other in enumerate(view.objects):
            if position > index:
                visible = one.sprite.solid.copy()
                hide(visible, one, other)
                hidden[position] = 1 - int(np.count_nonzero(visible)) / full_area
        found.append(
            SceneObject(
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
                visible_area=visible_area,
                full_area=full_area,
                hidden=tuple(hidden),
            )
        )
    return found


def bits(members: Iterable[int]) -> int:
    """Returns the set of `members`."""
    total = 0
    for member in members:
        total |= 1 << member
    return total


def members(chosen: int) -> list[int]:
    """Returns the indices in the set `chosen`, ascending."""
    return [k for k in range(chosen.bit_length()) if chosen >> k & 1]


def _low(span: tuple[float, float], sure: float, never: float) -> int:
    """Returns 2 if both ends of `span` are below `sure`, 0 if both are above `never`, else 1."""
    return 2 if span[1] < sure else 0 if span[0] > never else 1


def _high(span: tuple[float, float], sure: float, never: float) -> int:
    return _low((1 - span[1], 1 - span[0]), 1 - sure, 1 - never)


def _middle(one: SceneObject) -> int:
    low, high = one.span(0)
    if low > 0.41 and high < 0.59:
        return 2
    return 0 if high < 0.30 or low > 0.70 else 1


_SIDES: dict[str, Callable[[SceneObject], int]] = {
    "left": lambda one: _low(one.span(0), 0.40, 0.52),
    "right": lambda one: _high(one.span(0), 0.60, 0.48),
    "top": lambda one: _low(one.span(1), 0.42, 0.56),
    "bottom": lambda one: _high(one.span(1), 0.64, 0.50),
    "middle": _middle,
}
_TIGHTER: dict[str, Callable[[SceneObject], int]] = {
    "left": lambda one: _low(one.span(0), 0.36, 0.52),
    "right": lambda one: _high(one.span(0), 0.64, 0.48),
    "top": lambda one: _low(one.span(1), 0.40, 0.56),
    "bottom": lambda one: _high(one.span(1), 0.66, 0.50),
}
PLACES = (*_SIDES, "top left", "top right", "bottom left", "bottom right")
"""The places in the image that expressions name."""


def verdict(levels: Sequence[int]) -> Verdict:
    """Returns the verdict of one level per object: 2 surely, 1 possibly, 0 surely not."""
    return bits(k for k, level in enumerate(levels) if level == 2), bits(k for k, level in enumerate(levels) if level)


def at_place(objects: Sequence[SceneObject], place: str) -> Verdict:
    """Returns which objects are at `place` of the image."""
    sides = place.split()
    tests = [_SIDES[place]] if len(sides) == 1 else [_TIGHTER[side] for side in sides]
    return verdict([min(test(scene_object) for test in tests) for scene_object in objects])


def _beside(one: SceneObject, other: SceneObject, axis: int) -> int:
    """Whether `one` lies before `other` along `axis` (left of, above): roughly level with it and apart."""
    across = 1 - axis
    (_, one_high), (other_low, _) = one.span(axis), other.span(axis)
    one_low, other_high = one.span(axis)[0], other.span(axis)[1]
    away = other_low - one_high
    off = abs(one.centre[across] - other.centre[across]) * (one.aspect if axis else 1 / one.aspect)
    overlap = one.box[axis + 2] - other.box[axis]
    min_area = min(one.box[axis + 2] - one.box[axis], other.box[axis + 2] - other.box[axis])
    if away > 0.07 and off < 0.7 * away and overlap < 0.25 * min_area:
        return 2
    return 0 if one_low > other_high - 0.01 or (one_low > other_high - 0.05 and off > 0.3) else 1


def _near(one: SceneObject, other: SceneObject) -> int:
    gap_x = max(one.box[0], other.box[0]) - min(one.box[2], other.box[2])
    gap_y = max(one.box[1], other.box[1]) - min(one.box[3], other.box[3])
    shorter = min(one.box[3] - one.box[1], other.box[3] - other.box[1])
    if -0.01 < gap_x < 0.06 and -gap_y > 0.5 * shorter:
        return 2
    return 0 if max(gap_x, gap_y) > 0.17 else 1


def _behind(one: SceneObject, other: SceneObject, position: int) -> int:
    """Whether `other` (index `position`) hides a good part of `one`."""
    if one.hidden[position] > 0.09:
        return 2
    apart = max(one.box[0], other.box[0]) - min(one.box[2], other.box[2]) > 0.03
    below = one.box[3] > other.box[3] + 0.02
    return 0 if one.hidden[position] == 0 and (apart or below) else 1


RELATIONS = ("left of", "right of", "next to", "behind", "in front of", "above", "below")
"""The relations between two objects that expressions name."""


def in_relation(objects: Sequence[SceneObject], relation: str, anchor: int) -> Verdict:
    """Returns which objects stand in `relation` to the object `anchor`."""
    other = objects[anchor]
    tests: dict[str, Callable[[int, SceneObject], int]] = {
        "left of": lambda k, one: _beside(one, other, 0),
        "right of": lambda k, one: _beside(other, one, 0),
        "above": lambda k, one: _beside(one, other, 1),
        "below": lambda k, one: _beside(other, one, 1),
        "next to": lambda k, one: _near(one, other),
        "behind": lambda k, one: _behind(one, other, anchor),
        "in front of": lambda k, one: _behind(other, one, k),
    }
    test = tests[relation]
    return verdict([0 if k == anchor else test(k, one) for k, one in enumerate(objects)])


SIZE_WORDS = ("small", "large", "smallest", "largest")


def of_size(objects: Sequence[SceneObject], word: str, among: int) -> Verdict:
    """Returns which of the objects `among` are of the size `word`, compared with one another.

    Compared by what is seen and by what is there; where the two differ, it is only possibly so. An object that has no
    other to be compared with is possibly of any size.
    """
    chosen = members(among)
    if len(chosen) < 2:
        return 0, among
    one_way = [
        _sized([objects[k].visible_area for k in chosen], word),
        _sized([objects[k].full_area for k in chosen], word),
    ]
    levels = [0] * len(objects)
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


def in_order(objects: Sequence[SceneObject], rank: int, side: str, among: int) -> Verdict:
    """Returns which of the objects `among` is number `rank` (from 1) counted from the `side` left or right."""
    chosen = members(among)
    if rank > len(chosen):
        return 0, 0
    spans = sorted((objects[k].span(0), k) for k in chosen)
    if any(after[0][0] - before[0][1] < 0.07 for before, after in pairwise(spans)):
        return 0, among
    found = 1 << spans[rank - 1 if side == "left" else -rank][1]
    return found, found
