"""The catalogue of everyday objects: how each category looks, where it may stand and what it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from risctl.data.datasets.scenes import shapes
from risctl.data.datasets.scenes.outlines import Part
from risctl.data.datasets.scenes.palette import COLOURS

Draw = Callable[[np.random.Generator], list[Part]]

FRUIT = ("red", "green", "yellow")
LEAVES = ("green", "orange", "yellow", "pink", "red")
FUR = ("brown", "black", "white", "gray", "orange")
PETALS = ("red", "orange", "yellow", "blue", "purple", "pink", "white")


@dataclass(frozen=True, slots=True, kw_only=True)
class CategorySpec:
    """A category of objects.

    Attributes:
        draw: Draws its shape.
        names: What people call it, the usual name first.
        themes: The backgrounds that it may stand on.
        scale: Its usual height relative to other categories.
        colours: The colours that it comes in.
        round: How much it is shaded like a ball (1) or a board (0).
        tilt: The degrees that it may lean.
        stands: Where it may be: "ground", "wall" or "air".
        animal: Whether it is an animal.
    """

    draw: Draw
    names: tuple[str, ...]
    themes: tuple[str, ...]
    scale: float = 1.0
    colours: tuple[str, ...] = COLOURS
    round: float = 0.3
    tilt: float = 2.0
    stands: str = "ground"
    animal: bool = False


CATEGORIES: dict[str, CategorySpec] = {
    "cup": CategorySpec(draw=shapes.cup, names=("cup", "mug"), themes=("room", "table", "beach"), scale=0.85),
    "ball": CategorySpec(
        draw=shapes.ball,
        names=("ball",),
        themes=("room", "garden", "table", "beach"),
        scale=0.8,
        round=1,
        tilt=180,
    ),
    "box": CategorySpec(draw=shapes.box, names=("box",), themes=("room", "garden", "table"), scale=0.85, round=0.1),
    "book": CategorySpec(draw=shapes.book, names=("book",), themes=("room", "table"), scale=0.95, round=0.1, tilt=6),
    "bottle": CategorySpec(
        draw=shapes.bottle, names=("bottle",), themes=("room", "table", "beach"), scale=1.35, round=0.4
    ),
    "chair": CategorySpec(
        draw=shapes.chair, names=("chair", "seat"), themes=("room", "garden", "beach"), scale=1.5, round=0.1
    ),
    "lamp": CategorySpec(draw=shapes.lamp, names=("lamp",), themes=("room", "table"), scale=1.4),
    "flower": CategorySpec(
        draw=shapes.flower, names=("flower",), themes=("garden", "table"), scale=1.35, colours=PETALS, tilt=5
    ),
    "tree": CategorySpec(
        draw=shapes.tree,
        names=("tree",),
        themes=("garden",),
        scale=1.7,
        colours=LEAVES,
    ),
    "house": CategorySpec(draw=shapes.house, names=("house",), themes=("garden", "table"), scale=1.35, round=0.1),
    "car": CategorySpec(draw=shapes.car, names=("car",), themes=("room", "garden", "table"), scale=0.65, round=0.2),
    "dog": CategorySpec(
        draw=shapes.dog,
        names=("dog", "puppy"),
        themes=("room", "garden", "beach"),
        scale=0.95,
        colours=FUR,
        animal=True,
    ),
    "cat": CategorySpec(
        draw=shapes.cat, names=("cat", "kitty"), themes=("room", "garden"), scale=1.05, colours=FUR, animal=True
    ),
    "fish": CategorySpec(
        draw=shapes.fish, names=("fish",), themes=("table", "beach"), scale=0.72, round=0.6, tilt=14, animal=True
    ),
    "star": CategorySpec(draw=shapes.star, names=("star",), themes=("room", "table", "beach"), scale=0.95, tilt=18),
    "umbrella": CategorySpec(
        draw=shapes.umbrella, names=("umbrella",), themes=("room", "garden", "beach"), scale=1.25, tilt=8
    ),
    "hat": CategorySpec(
        draw=shapes.hat, names=("hat",), themes=("room", "garden", "table", "beach"), scale=0.6, tilt=4
    ),
    "clock": CategorySpec(
        draw=shapes.clock, names=("clock",), themes=("room", "table"), scale=0.85, round=0.2, stands="wall"
    ),
    "apple": CategorySpec(
        draw=shapes.apple,
        names=("apple",),
        themes=("table", "garden"),
        scale=0.75,
        round=0.9,
        colours=FRUIT,
    ),
    "balloon": CategorySpec(
        draw=shapes.balloon,
        names=("balloon",),
        themes=("room", "garden", "beach"),
        scale=1.35,
        round=0.9,
        tilt=6,
        stands="air",
    ),
    "bird": CategorySpec(
        draw=shapes.bird,
        names=("bird",),
        themes=("garden", "beach"),
        scale=0.75,
        round=0.5,
        tilt=8,
        stands="air",
        animal=True,
    ),
    "boat": CategorySpec(
        draw=shapes.boat, names=("boat", "sailboat"), themes=("beach", "table"), scale=1.15, round=0.1, tilt=4
    ),
}

CATEGORY_IDS: dict[str, int] = {name: number for number, name in enumerate(sorted(CATEGORIES), start=1)}
THEMES: tuple[str, ...] = ("room", "garden", "table", "beach")
