"""Renders a scene: background, shadows, objects from far to near, light and noise, and the index map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from risctl.data.datasets.scenes import backgrounds, layout, sprites
from risctl.data.datasets.scenes.catalogue import CATEGORIES, THEMES
from risctl.data.datasets.scenes.layout import Placed

SHAPES = ((320, 240), (320, 240), (352, 240), (320, 256), (288, 288), (256, 320), (384, 216))
"""The widths and heights of the images."""


@dataclass(frozen=True, slots=True)
class View:
    """A rendered view.

    Attributes:
        theme: Its background.
        pixels: The image, uint8 of shape (H, W, 3).
        index_map: int16 of shape (H, W): the index in `objects` of what is visible at each pixel, -1 for background.
        objects: The placed objects, far to near.
    """

    theme: str
    pixels: np.ndarray
    index_map: np.ndarray
    objects: list[Placed]


def render(rng: np.random.Generator, *, size: tuple[int, int] | None = None) -> View:
    """Returns a random scene of `size` (width, height), or of one of the usual `SHAPES`."""
    width, height = size or SHAPES[int(rng.integers(len(SHAPES)))]
    theme = THEMES[int(rng.integers(len(THEMES)))]
    horizon = int(height * rng.uniform(*((0.22, 0.38) if theme == "table" else (0.34, 0.52))))
    light = float(rng.uniform(0.25, 0.75) * np.pi)
    plans = layout.plan(theme, rng)
    objects = layout.place(plans, height=height, width=width, horizon=horizon, light=light, rng=rng)
    canvas = backgrounds.draw(theme, height=height, width=width, horizon=horizon, rng=rng)
    pixels, index_map = compose(canvas, objects, light=light, rng=rng)
    return View(theme, pixels, index_map, objects)


def compose(
    canvas: np.ndarray, objects: list[Placed], *, light: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pixels and the index map, as `View` has them, of objects on `canvas`, which is overwritten."""
    _cast_shadows(canvas, objects, light)
    index_map = np.full(canvas.shape[:2], -1, dtype=np.int16)
    for index, one in enumerate(objects):
        rows, columns = slice(one.top, one.bottom), slice(one.left, one.right)
        alpha = one.sprite.alpha[..., None]
        canvas[rows, columns] += (one.sprite.rgb - canvas[rows, columns]) * alpha
        index_map[rows, columns][one.sprite.solid] = index
    return _developed(canvas, rng), index_map


def _cast_shadows(canvas: np.ndarray, objects: list[Placed], light: float) -> None:
    """Darkens the background where objects stand, away from the light; those on the wall cast their outline on it."""
    height, width = canvas.shape[:2]
    shadow = np.zeros((height, width), dtype=np.float32)
    for scene_object in objects:
        height_px, width_px = scene_object.sprite.alpha.shape
        stands = CATEGORIES[scene_object.plan.category].stands
        if stands == "air":
            continue
        if stands == "wall":
            _add(
                shadow,
                scene_object.sprite.alpha * np.float32(0.5),
                scene_object.top + 4,
                scene_object.left + round(-5 * np.cos(light)),
            )
            continue
        deep = max(6, round(0.22 * min(width_px, height_px)))
        y = np.linspace(-1, 1, deep, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, round(width_px * 1.3), dtype=np.float32)[None, :]
        blot = np.clip(1.15 - (x * x + y * y), 0, 0.8) * np.float32(0.75)
        _add(
            shadow,
            blot,
            scene_object.bottom - round(deep * 0.6),
            scene_object.left - round(width_px * (0.15 + 0.18 * np.cos(light))),
        )
    soft = Image.fromarray(shadow).reduce(4).resize((width, height), Image.Resampling.BILINEAR)
    canvas *= 1 - np.asarray(soft)[..., None]


def _add(target: np.ndarray, patch: np.ndarray, top: int, left: int) -> None:
    """Raises `target` to `patch` where it lies, cut to the image."""
    height, width = target.shape
    first_row, first_column = max(0, -top), max(0, -left)
    patch = patch[first_row : max(0, height - top), first_column : max(0, width - left)]
    if patch.size:
        rows, columns = (
            slice(top + first_row, top + first_row + patch.shape[0]),
            slice(left + first_column, left + first_column + patch.shape[1]),
        )
        np.maximum(target[rows, columns], patch, out=target[rows, columns])


def _developed(canvas: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns the image as a camera takes it: a slight cast and exposure, uneven light, grain; uint8."""
    height, width = canvas.shape[:2]
    cast = (rng.uniform(0.92, 1.06) * (1 + rng.uniform(-0.025, 0.025, 3))).astype(np.float32)
    uneven = 1 + np.float32(0.05) * sprites.smooth_noise((height, width), height / 2, rng)
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(0.004, 0.018))
    developed = canvas * cast * uneven[..., None] + grain
    return np.clip(developed * 255 + 0.5, 0, 255).astype(np.uint8)
