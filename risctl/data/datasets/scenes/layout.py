"""Chooses the objects of a scene, their colours and sizes, and places where enough of each is visible."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from risctl.data.datasets.scenes import sprites
from risctl.data.datasets.scenes.catalogue import CATEGORIES
from risctl.data.datasets.scenes.sprites import Sprite

SIZES = {"small": 0.62, "medium": 1.0, "large": 1.5}
MIN_VISIBLE = 0.55
"""The smallest share of an object that others leave visible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A planned object: its category, colour and size (a key of `SIZES`), and whether it stands in a row."""

    category: str
    colour: str
    size: str
    in_row: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A placed object: its sprite, the sprite's top left corner, and `depth`, larger nearer to the viewer."""

    plan: Plan
    sprite: Sprite
    top: int
    left: int
    depth: float

    @property
    def bottom(self) -> int:
        """The first row below the sprite."""
        return self.top + self.sprite.alpha.shape[0]

    @property
    def right(self) -> int:
        """The first column right of the sprite."""
        return self.left + self.sprite.alpha.shape[1]


def plan(theme: str, rng: np.random.Generator) -> list[Plan]:
    """Returns the objects of a scene: one or two groups of a category and some others, in few colours.

    Groups and shared colours make words of colour, size, place, order and relation necessary.
    """
    categories = [name for name, spec in CATEGORIES.items() if theme in spec.themes]
    order = [categories[k] for k in rng.permutation(len(categories))]
    counts = (int(rng.choice([1, 2, 3, 4], p=[0.1, 0.3, 0.4, 0.2])), int(rng.choice([1, 2], p=[0.45, 0.55])), 1, 1, 1)
    tints = [str(name) for name in rng.permutation(list(sprites.palette.COLOURS))[: int(rng.integers(3, 6))]]
    total = int(rng.integers(3, 8))
    plans: list[Plan] = []
    for category, count in zip(order, counts, strict=False):
        known = [name for name in CATEGORIES[category].colours if name in tints] or list(CATEGORIES[category].colours)
        same = rng.random() < 0.3
        shared = str(rng.choice(known))
        in_row = count >= 3 and rng.random() < 0.6
        for _ in range(min(count, total - len(plans))):
            colour = shared if same else str(rng.choice(known))
            size = str(rng.choice(list(SIZES), p=[0.3, 0.4, 0.3]))
            plans.append(Plan(category=category, colour=colour, size="medium" if in_row else size, in_row=in_row))
    return plans


def place(
    plans: list[Plan], *, height: int, width: int, horizon: int, light: float, rng: np.random.Generator
) -> list[Placed]:
    """Returns the placed objects, far to near; those that find no room are left out."""
    placed: list[Placed] = []
    # So that targets are nearly as large as RefCOCO's, whose boxes cover 15 % of their image (median; half of them
    # 10 to 26 %): here 13 % (7 to 21 %).
    unit = 0.42 * np.sqrt(height * width)
    base = float(rng.uniform(horizon + 0.35 * (height - horizon), 0.94 * height))
    rows = sum(one.in_row for one in plans)
    slots = rng.permutation(rows).tolist()
    for one in plans:
        spec = CATEGORIES[one.category]
        height_px = (
            unit * spec.scale * SIZES[one.size] * rng.uniform(0.93, 1.07) * (0.75 if rows > 3 and one.in_row else 1)
        )
        sprite = sprites.draw(one.category, one.colour, height=float(height_px), light=light, rng=rng)
        slot = slots.pop() if one.in_row else None
        for _ in range(14):
            if slot is not None:
                where = _in_row(sprite, slot, rows, base=base, height=height, width=width, rng=rng)
            elif placed and spec.stands != "wall" and rng.random() < 0.5:
                where = _by(placed[int(rng.integers(len(placed)))], sprite, rng)
            else:
                where = _anywhere(sprite, spec.stands, height=height, width=width, horizon=horizon, rng=rng)
            top, left = (round(value) for value in where)
            candidate = Placed(plan=one, sprite=sprite, top=top, left=left, depth=_depth(sprite, top, spec.stands, rng))
            if _fits(candidate, horizon=horizon, height=height, width=width) and _all_visible([*placed, candidate]):
                placed = sorted([*placed, candidate], key=lambda other: other.depth)
                break
    return placed


def _depth(sprite: Sprite, top: int, stands: str, rng: np.random.Generator) -> float:
    # What hangs or flies is behind all that stands; equal rows are told apart by chance.
    return float(rng.random()) + (top + sprite.alpha.shape[0] if stands == "ground" else 0)


def _in_row(
    sprite: Sprite, slot: int, count: int, *, base: float, height: int, width: int, rng: np.random.Generator
) -> tuple[float, float]:
    step = width / count
    middle = step * (slot + 0.5) + rng.uniform(-0.12, 0.12) * step
    bottom = base + rng.uniform(-0.05, 0.05) * height
    return bottom - sprite.alpha.shape[0], middle - sprite.alpha.shape[1] / 2


def _by(other: Placed, sprite: Sprite, rng: np.random.Generator) -> tuple[float, float]:
    """Beside, behind or in front of another, or over it."""
    height_px, width_px = sprite.alpha.shape
    other_wide = other.right - other.left
    style = rng.integers(3)
    side = rng.choice([-1.0, 1.0])
    middle = (other.left + other.right) / 2
    if style == 0:
        gap = rng.uniform(0.0, 12.0)
        return other.bottom + rng.uniform(-4, 4) - height_px, middle + side * (
            other_wide + width_px + 2 * gap
        ) / 2 - width_px / 2
    if style == 1:
        away = rng.uniform(0.25, 0.75) * (other_wide + width_px) / 2
        near = rng.choice([-1.0, 1.0]) * rng.uniform(5, 26)
        return other.bottom + near - height_px, middle + side * away - width_px / 2
    return other.top - rng.uniform(0, 24) - height_px, middle + rng.uniform(-0.4, 0.4) * other_wide - width_px / 2


def _anywhere(
    sprite: Sprite, stands: str, *, height: int, width: int, horizon: int, rng: np.random.Generator
) -> tuple[float, float]:
    height_px, width_px = sprite.alpha.shape
    left = rng.uniform(0, max(width - width_px, 1))
    if stands == "ground":
        return rng.uniform(horizon + 0.08 * (height - horizon), height) - height_px, left
    return rng.uniform(0, max(horizon + (0.3 * height if stands == "air" else 0) - height_px, 1)), left


def _fits(one: Placed, *, horizon: int, height: int, width: int) -> bool:
    if one.top < 0 or one.left < 0 or one.bottom > height or one.right > width:
        return False
    stands = CATEGORIES[one.plan.category].stands
    return stands == "air" or (one.bottom > horizon + 2 if stands == "ground" else one.bottom < horizon)


def _all_visible(placed: list[Placed]) -> bool:
    newest = placed[-1]
    for item in placed:
        if item is not newest and (item.right <= newest.left or newest.right <= item.left):
            continue
        visible = item.sprite.solid.copy()
        for other in placed:
            if other.depth > item.depth:
                hide(visible, item, other)
        if np.count_nonzero(visible) < MIN_VISIBLE * np.count_nonzero(item.sprite.solid):
            return False
    return True


def hide(visible: np.ndarray, one: Placed, other: Placed) -> None:
    """Clears in `visible`, which has the extent of `one`'s sprite, the pixels that `other` covers."""
    top, bottom = max(one.top, other.top), min(one.bottom, other.bottom)
    left, right = max(one.left, other.left), min(one.right, other.right)
    if top < bottom and left < right:
        covered = other.sprite.solid[top - other.top : bottom - other.top, left - other.left : right - other.left]
        visible[top - one.top : bottom - one.top, left - one.left : right - one.left] &= ~covered
