"""The instances of an image, and scores of their places and relations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from risctl.data.datasets.coco_phrases import wording


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance in an image.

    Attributes:
        corners: xyxy in [0, 1] of the image.
        category: Its category's name.
        area: Its share of the image: of its mask where known, else of its box.
        colour: The name of its colour, None if no colour dominates.
        crowd: Whether it is a crowd, which no phrase refers to but which competes with targets.
    """

    corners: tuple[float, float, float, float]
    category: str
    area: float
    colour: str | None = None
    crowd: bool = False

    @property
    def x(self) -> float:
        """The centre's column."""
        return (self.corners[0] + self.corners[2]) / 2

    @property
    def y(self) -> float:
        """The centre's row."""
        return (self.corners[1] + self.corners[3]) / 2

    @property
    def foot(self) -> float:
        """The lowest row: what stands lower in an image is nearer."""
        return self.corners[3]

    @property
    def height(self) -> float:
        """Rows covered."""
        return self.corners[3] - self.corners[1]


def _near(first: Instance, second: Instance) -> float | None:
    gap = _gap(first, second)
    return -gap if gap < 0.12 else None


def _gap(first: Instance, second: Instance) -> float:
    """Returns how far apart two boxes are, 0 if they touch; centres count a little, to tell touching boxes apart."""
    across = max(first.corners[0], second.corners[0]) - min(first.corners[2], second.corners[2])
    down = max(first.corners[1], second.corners[1]) - min(first.corners[3], second.corners[3])
    centres = abs(first.x - second.x) + abs(first.y - second.y)
    return max(across, 0.0) + max(down, 0.0) + 0.5 * centres


def _beside(sign: float) -> Callable[[Instance, Instance], float | None]:
    def score(first: Instance, second: Instance) -> float | None:
        level = min(first.foot, second.foot) - max(first.corners[1], second.corners[1])
        apart = sign * (first.x - second.x)
        return -_gap(first, second) if apart > 0.08 and level > 0.3 * min(first.height, second.height) else None

    return score


def _stacked(sign: float) -> Callable[[Instance, Instance], float | None]:
    def score(first: Instance, second: Instance) -> float | None:
        across = min(first.corners[2], second.corners[2]) - max(first.corners[0], second.corners[0])
        narrow = min(first.corners[2] - first.corners[0], second.corners[2] - second.corners[0])
        apart = sign * (first.y - second.y)
        clear = apart > 0.45 * (first.height + second.height) - 0.02
        return -_gap(first, second) if across > 0.4 * narrow and apart > 0.08 and clear else None

    return score


def _depth(sign: float) -> Callable[[Instance, Instance], float | None]:
    """Scores depth: what overlaps another instance and has the lower foot stands in front of it."""

    def score(first: Instance, second: Instance) -> float | None:
        across = min(first.corners[2], second.corners[2]) - max(first.corners[0], second.corners[0])
        down = min(first.foot, second.foot) - max(first.corners[1], second.corners[1])
        apart = sign * (first.foot - second.foot)
        sizes = 0.25 < first.area / max(second.area, 1e-6) < 4
        return across if across > 0.04 and down > 0.04 and apart > 0.06 and sizes else None

    return score


_CARRIED = {"umbrella", "handbag", "backpack", "suitcase", "tie", "frisbee", "baseball bat", "baseball glove", "remote"}
_CARRIED |= {"tennis racket", "cell phone", "cup", "bottle", "wine glass", "book", "teddy bear", "kite", "sports ball"}
_RIDDEN = {"bicycle", "motorcycle", "horse", "skateboard", "surfboard", "snowboard", "skis", "bench", "couch", "bed"}
_RIDDEN |= {"chair", "elephant"}


def _with(first: Instance, second: Instance) -> float | None:
    if first.category != "person" or second.category not in _CARRIED:
        return None
    return _cover(second, first) if _cover(second, first) > 0.5 else None


def _on(first: Instance, second: Instance) -> float | None:
    animals = first.category in ("person", "cat", "dog", "teddy bear")
    if not animals or second.category not in _RIDDEN or first.y > second.y:
        return None
    return _cover(first, second) if _cover(first, second) > 0.3 else None


def _cover(first: Instance, second: Instance) -> float:
    """Returns the share of the first's box that the second's box covers."""
    across = min(first.corners[2], second.corners[2]) - max(first.corners[0], second.corners[0])
    down = min(first.foot, second.foot) - max(first.corners[1], second.corners[1])
    whole = (first.corners[2] - first.corners[0]) * first.height
    return max(across, 0.0) * max(down, 0.0) / max(whole, 1e-6)


RELATION_SCORES: Mapping[str, Callable[[Instance, Instance], float | None]] = {
    "behind": _depth(-1.0),
    "in front of": _depth(1.0),
    "left of": _beside(-1.0),
    "right of": _beside(1.0),
    "above": _stacked(-1.0),
    "under": _stacked(1.0),
    "near": _near,
    "with": _with,
    "on": _on,
}
AXES: Mapping[str, Callable[[Instance], float]] = {
    "left": lambda one: -one.x,
    "right": lambda one: one.x,
    "top": lambda one: -one.y,
    "bottom": lambda one: one.y,
    # Nearness: lower feet, and larger.
    "front": lambda one: 0.6 * one.foot + 0.6 * one.area**0.5,
    "back": lambda one: -0.6 * one.foot - 0.6 * one.area**0.5,
}


def _place_score(place: str) -> Callable[[Instance], float]:
    axes = [AXES[word] for word in place.split()]
    return lambda instance: sum(axis(instance) for axis in axes)


PLACE_SCORES = {name: _place_score(name) for name in wording.PLACES if name != "middle"}
