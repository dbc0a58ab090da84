"""Draws one object: its shape, coloured, textured and shaded, with its coverage of each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from risctl.data.datasets.scenes import palette
from risctl.data.datasets.scenes.catalogue import CATEGORIES, CategorySpec

SUPERSAMPLING = 3


@dataclass(frozen=True, slots=True)
class Sprite:
    """A drawn object.

    Attributes:
        rgb: Its colours, float32 of shape (h, w, 3) in [0, 1].
        alpha: Its coverage of each pixel, float32 of shape (h, w) in [0, 1].
        solid: The pixels of its mask, bool of shape (h, w).
    """

    rgb: np.ndarray
    alpha: np.ndarray
    solid: np.ndarray


def draw(category: str, colour: str, *, height: float, light: float, rng: np.random.Generator) -> Sprite:
    """Returns an object of about `height` pixels, lit from the angle `light` (radians, 0 right, pi/2 above)."""
    spec = CATEGORIES[category]
    main = palette.sample(colour, rng)
    parts = spec.draw(rng)
    points = [_lean(part.points, spec, turn) for turn in [_turn(spec, rng)] for part in parts]
    low = np.min([p.min(axis=0) for p in points], axis=0)
    high = np.max([p.max(axis=0) for p in points], axis=0)
    # Without the one pixel around, the edge would have no room to fade.
    width, rows = (int(np.ceil(side)) + 2 for side in (high - low) * height)
    size = (width * SUPERSAMPLING, rows * SUPERSAMPLING)
    # The colour canvas starts in the main colour, so that the edge fades to transparent and not to black.
    canvas = Image.new("RGB", size, palette.tone("main", main))
    cover, own = Image.new("L", size, 0), Image.new("L", size, 0)
    pens = ImageDraw.Draw(canvas), ImageDraw.Draw(cover), ImageDraw.Draw(own)
    for part, outline in zip(parts, points, strict=True):
        flat = ((outline - low) * height * SUPERSAMPLING + SUPERSAMPLING).ravel().tolist()
        pens[0].polygon(flat, fill=palette.tone(part.tone, main))
        pens[1].polygon(flat, fill=255)
        pens[2].polygon(flat, fill=255 if part.tone in ("main", "light", "dark") else 0)
    rgb, alpha, coloured = (
        np.asarray(layer.reduce(SUPERSAMPLING), dtype=np.float32) / 255 for layer in (canvas, cover, own)
    )
    if rng.random() < 0.6:
        rgb = _textured(rgb, coloured, main, rng)
    rgb = np.clip(_shaded(rgb, spec.round, light), 0, 1)
    return Sprite(rgb, alpha, alpha >= 0.5)


def _turn(spec: CategorySpec, rng: np.random.Generator) -> tuple[float, bool]:
    return np.radians(rng.uniform(-spec.tilt, spec.tilt)), bool(rng.random() < 0.5)


def _lean(points: np.ndarray, spec: CategorySpec, turn: tuple[float, bool]) -> np.ndarray:
    """Turns the outline by the angle about the middle of the unit square, and mirror it if so drawn."""
    angle, mirrored = turn
    x, y = points[:, 0] - 0.5, points[:, 1] - 0.5
    if mirrored:
        x = -x
    return np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=1)


def _grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns y (h, 1) and x (1, w) from -1 to 1."""
    height, width = shape
    return (
        np.linspace(-1, 1, height, dtype=np.float32)[:, None],
        np.linspace(-1, 1, width, dtype=np.float32)[None, :],
    )


def _textured(rgb: np.ndarray, coloured: np.ndarray, main: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Lays stripes, checks, dots or mottling over the parts of the object's own colour, in a shade of that colour."""
    height, width = coloured.shape
    y, x = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    angle = rng.choice([0.0, np.pi / 2, np.pi / 4, -np.pi / 4])
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    across = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    rate = np.float32(2 * np.pi / rng.uniform(7, 15))
    style = rng.integers(4)
    if style == 0:
        pattern = np.clip(np.sin(along * rate) * 3, -1, 1)
    elif style == 1:
        pattern = np.clip(np.sin(along * rate) * np.sin(across * rate) * 4, -1, 1)
    elif style == 2:
        pattern = np.clip((np.cos(along * rate) + np.cos(across * rate) - 0.8) * 3, -0.3, 1)
    else:
        pattern = smooth_noise((height, width), 5, rng)
    depth = 0.13 if style < 3 else 0.2
    shade = (main * 0.35 + 0.65 if main.max() > 0.3 else np.full(3, 0.5, np.float32)) - main
    shade = np.where(main.min() > 0.8, np.float32(-0.9), shade).astype(np.float32)
    return rgb + (pattern * coloured * np.float32(depth))[..., None] * shade


def smooth_noise(shape: tuple[int, int], cell: float, rng: np.random.Generator, *, stretch: float = 1.0) -> np.ndarray:
    """Returns noise (h, w) float32 of about [-1, 1], smooth over `cell` pixels (`stretch` times as many across)."""
    height, width = shape
    rows, columns = max(2, round(height / cell)), max(2, round(width / (cell * stretch)))
    coarse = rng.random((rows, columns), dtype=np.float32) * 2 - 1
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _shaded(rgb: np.ndarray, ball: float, light: float) -> np.ndarray:
    """Lights the side that faces `light` and darken the other; `ball` adds the fall-off and gloss of a round body."""
    y, x = _grid(rgb.shape[:2])
    towards = x * np.float32(np.cos(light)) - y * np.float32(np.sin(light))
    shade = 1 + np.float32(0.10 + 0.08 * ball) * towards
    shade = shade - np.float32(0.22 * ball) * (x * x + y * y)
    gloss = np.exp(-((x - 0.4 * np.cos(light)) ** 2 + (y + 0.4 * np.sin(light)) ** 2) / 0.06).astype(np.float32)
    return rgb * shade[..., None] + (np.float32(0.28 * ball) * gloss)[..., None]
