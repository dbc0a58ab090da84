"""The catalogue of everyday things: what colours and places suit each, and what it is called."""

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
class Kind:
    """A category.

    `scale` is its usual height against others', `round` how much it is shaded as a ball (1) or a board (0), `tilt` the
    degrees it may lean, `stands` where it may be: on the ground, on the wall, or in the air.
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


KINDS: dict[str, Kind] = {
    "cup": Kind(draw=shapes.cup, names=("cup", "mug"), themes=("room", "table", "beach"), scale=0.85),
    "ball": Kind(
        draw=shapes.ball,
        names=("ball",),
        themes=("room", "garden", "table", "beach"),
        scale=0.8,
        round=1,
        tilt=180,
    ),
    "box": Kind(draw=shapes.box, names=("box",), themes=("room", "garden", "table"), scale=0.85, round=0.1),
    "book": Kind(draw=shapes.book, names=("book",), themes=("room", "table"), scale=0.95, round=0.1, tilt=6),
    "bottle": Kind(draw=shapes.bottle, names=("bottle",), themes=("room", "table", "beach"), scale=1.35, round=0.4),
    "chair": Kind(draw=shapes.chair, names=("chair", "seat"), themes=("room", "garden", "beach"), scale=1.5, round=0.1),
    "lamp": Kind(draw=shapes.lamp, names=("lamp",), themes=("room", "table"), scale=1.4),
    "flower": Kind(
        draw=shapes.flower, names=("flower",), themes=("garden", "table"), scale=1.35, colours=PETALS, tilt=5
    ),
    "tree": Kind(
        draw=shapes.tree,
        names=("tree",),
        themes=("garden",),
        scale=1.7,
        colours=LEAVES,
    ),
    "house": Kind(draw=shapes.house, names=("house",), themes=("garden", "table"), scale=1.35, round=0.1),
    "car": Kind(draw=shapes.car, names=("car",), themes=("room", "garden", "table"), scale=0.65, round=0.2),
    "dog": Kind(
        draw=shapes.dog,
        names=("dog", "puppy"),
        themes=("room", "garden", "beach"),
        scale=0.95,
        colours=FUR,
        animal=True,
    ),
    "cat": Kind(
        draw=shapes.cat, names=("cat", "kitty"), themes=("room", "garden"), scale=1.05, colours=FUR, animal=True
    ),
    "fish": Kind(
        draw=shapes.fish, names=("fish",), themes=("table", "beach"), scale=0.72, round=0.6, tilt=14, animal=True
    ),
    "star": Kind(draw=shapes.star, names=("star",), themes=("room", "table", "beach"), scale=0.95, tilt=18),
    "umbrella": Kind(draw=shapes.umbrella, names=("umbrella",), themes=("room", "garden", "beach"), scale=1.25, tilt=8),
    "hat": Kind(draw=shapes.hat, names=("hat",), themes=("room", "garden", "table", "beach"), scale=0.6, tilt=4),
    "clock": Kind(draw=shapes.clock, names=("clock",), themes=("room", "table"), scale=0.85, round=0.2, stands="wall"),
    "apple": Kind(
        draw=shapes.apple,
        names=("apple",),
        themes=("table", "garden"),
        scale=0.75,
        round=0.9,
        colours=FRUIT,
    ),
    "balloon": Kind(
        draw=shapes.balloon,
        names=("balloon",),
        themes=("room", "garden", "beach"),
        scale=1.35,
        round=0.9,
        tilt=6,
        stands="air",
    ),
    "bird": Kind(
        draw=shapes.bird,
        names=("bird",),
        themes=("garden", "beach"),
        scale=0.75,
        round=0.5,
        tilt=8,
        stands="air",
        animal=True,
    ),
    "boat": Kind(
        draw=shapes.boat, names=("boat", "sailboat"), themes=("beach", "table"), scale=1.15, round=0.1, tilt=4
    ),
}

CATEGORY_IDS: dict[str, int] = {name: number for number, name in enumerate(sorted(KINDS), start=1)}
THEMES: tuple[str, ...] = ("room", "garden", "table", "beach")
