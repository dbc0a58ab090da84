"""A scene rendered: background, shadows, things from far to near, light and noise; and whose each pixel is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from risctl.data.datasets.scenes import backgrounds, layout, sprites
from risctl.data.datasets.scenes.catalogue import KINDS, THEMES
from risctl.data.datasets.scenes.layout import Placed

SHAPES = ((320, 240), (320, 240), (352, 240), (320, 256), (288, 288), (256, 320), (384, 216))
"""Widths and heights that pictures come in."""


@dataclass(frozen=True, slots=True)
class View:
    """A rendered scene: `pixels` uint8 (H, W, 3), `owner` int16 (H, W) the index in `things` of what is seen
    there, -1 where it is background."""

    theme: str
    pixels: np.ndarray
    owner: np.ndarray
    things: list[Placed]


def render(rng: np.random.Generator, *, size: tuple[int, int] | None = None) -> View:
    """Return a random scene of `size` (width, height), or of one of the usual `SHAPES`."""
    width, height = size or SHAPES[int(rng.integers(len(SHAPES)))]
    theme = THEMES[int(rng.integers(len(THEMES)))]
    horizon = int(height * rng.uniform(*((0.22, 0.38) if theme == "table" else (0.34, 0.52))))
    light = float(rng.uniform(0.25, 0.75) * np.pi)
    plans = layout.plan(theme, rng)
    things = layout.place(plans, height=height, width=width, horizon=horizon, light=light, rng=rng)
    canvas = backgrounds.draw(theme, height=height, width=width, horizon=horizon, rng=rng)
    pixels, owner = compose(canvas, things, light=light, rng=rng)
    return View(theme, pixels, owner, things)


def compose(
    canvas: np.ndarray, things: list[Placed], *, light: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels and the owners, as `View` has them, of things on a background; `canvas` is drawn over."""
    _cast_shadows(canvas, things, light)
    owner = np.full(canvas.shape[:2], -1, dtype=np.int16)
    for index, one in enumerate(things):
        rows, columns = slice(one.top, one.bottom), slice(one.left, one.right)
        alpha = one.sprite.alpha[..., None]
        canvas[rows, columns] += (one.sprite.rgb - canvas[rows, columns]) * alpha
        owner[rows, columns][one.sprite.solid] = index
    return _developed(canvas, rng), owner


def _cast_shadows(canvas: np.ndarray, things: list[Placed], light: float) -> None:
    """Darken the background where things stand, away from the light; wall things throw their outline on the wall."""
    height, width = canvas.shape[:2]
    shadow = np.zeros((height, width), dtype=np.float32)
    for one in things:
        tall, wide = one.sprite.alpha.shape
        stands = KINDS[one.plan.category].stands
        if stands == "air":
            continue
        if stands == "wall":
            _add(shadow, one.sprite.alpha * np.float32(0.5), one.top + 4, one.left + round(-5 * np.cos(light)))
            continue
        deep = max(6, round(0.22 * min(wide, tall)))
        y = np.linspace(-1, 1, deep, dtype=np.float32)[:, None]
        x = np.linspace(-1, 1, round(wide * 1.3), dtype=np.float32)[None, :]
        blot = np.clip(1.15 - (x * x + y * y), 0, 0.8) * np.float32(0.75)
        _add(shadow, blot, one.bottom - round(deep * 0.6), one.left - round(wide * (0.15 + 0.18 * np.cos(light))))
    soft = Image.fromarray(shadow).reduce(4).resize((width, height), Image.Resampling.BILINEAR)
    canvas *= 1 - np.asarray(soft)[..., None]


def _add(target: np.ndarray, patch: np.ndarray, top: int, left: int) -> None:
    """Raise `target` to `patch` where it lies, cut to the picture."""
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
    """Return the picture as a camera would: a slight cast and exposure, uneven light, grain; uint8."""
    height, width = canvas.shape[:2]
    cast = (rng.uniform(0.92, 1.06) * (1 + rng.uniform(-0.025, 0.025, 3))).astype(np.float32)
    uneven = 1 + np.float32(0.05) * sprites.smooth_noise((height, width), height / 2, rng)
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(0.004, 0.018))
    developed = canvas * cast * uneven[..., None] + grain
    return np.clip(developed * 255 + 0.5, 0, 255).astype(np.uint8)
