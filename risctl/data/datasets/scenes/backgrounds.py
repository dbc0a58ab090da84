"""Draws the backgrounds of scenes: a room, a garden, a table top or a beach, always textured."""

from __future__ import annotations

import colorsys

import numpy as np

from risctl.data.datasets.scenes.sprites import smooth_noise


def draw(theme: str, *, height: int, width: int, horizon: int, rng: np.random.Generator) -> np.ndarray:
    """Returns a background.

    Args:
        theme: "room", "garden", "table" or "beach".
        height: Rows.
        width: Columns.
        horizon: The row above which nothing stands on the ground.
        rng: The source of randomness.

    Returns:
        An image of shape (height, width, 3), float32 in [0, 1].
    """
    image = np.empty((height, width, 3), dtype=np.float32)
    above, below = (horizon, width), (height - horizon, width)
    if theme == "garden":
        image[:horizon] = _sky(above, rng)
        image[horizon:] = _grass(below, rng)
    elif theme == "beach":
        sea = max(2, int(horizon * rng.uniform(0.25, 0.45)))
        image[: horizon - sea] = _sky((horizon - sea, width), rng)
        image[horizon - sea : horizon] = _sea((sea, width), rng)
        image[horizon:] = _sand(below, rng)
    elif theme == "table":
        image[:horizon] = _wall(above, rng)
        image[horizon:] = _wood(below, rng)
    else:
        image[:horizon] = _wall(above, rng)
        image[horizon:] = _floor(below, rng)
        image[horizon - 4 : horizon] = image[horizon - 4 : horizon] * 0.3 + 0.62
    return image


def _colour(
    rng: np.random.Generator, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]
) -> np.ndarray:
    spans = (hue, saturation, value)
    h, s, v = (rng.uniform(*span) for span in spans)
    return np.array(colorsys.hsv_to_rgb(h / 360 % 1, s, v), dtype=np.float32)


def _fill(shape: tuple[int, int], colour: np.ndarray, shade: np.ndarray) -> np.ndarray:
    return np.broadcast_to(1 + shade, shape)[..., None] * colour


def _ramp(rows: int, first: float, last: float) -> np.ndarray:
    return np.linspace(first, last, rows, dtype=np.float32)[:, None]


def _axes(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(shape[0], dtype=np.float32)[:, None], np.arange(shape[1], dtype=np.float32)[None, :]


def _wall(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    colour = _colour(rng, (0, 360), (0.05, 0.18), (0.62, 0.86))
    y, x = _axes(shape)
    rate = np.float32(2 * np.pi / rng.uniform(14, 30))
    style = rng.integers(4)
    if style == 0:
        pattern: np.ndarray = 0.045 * np.sign(np.sin(x * rate))
    elif style == 1:
        pattern = 0.06 * (np.cos(x * rate) + np.cos(y * rate) > 1.2)
    elif style == 2:
        course = np.floor(y / 12)
        joint = (y % 12 < 1.5) | ((x + course % 2 * 14) % 28 < 1.5)
        pattern = -0.10 * joint
    else:
        pattern = np.zeros((1, 1), dtype=np.float32)
    noise = 0.05 * smooth_noise(shape, 24, rng)
    return _fill(shape, colour, pattern.astype(np.float32) + noise + _ramp(shape[0], 0.06, -0.08))


def _floor(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    y, x = _axes(shape)
    # Boards and tiles run towards a point above the horizon, so that the floor lies down.
    flight = (x - shape[1] / 2) / (y + shape[0] * np.float32(rng.uniform(0.6, 1.2))) * shape[0]
    if rng.random() < 0.5:
        colour = _colour(rng, (22, 36), (0.25, 0.42), (0.52, 0.72))
        board = np.floor(flight / 20)
        pattern = (
            0.05 * np.sin(board * 12.9) - 0.16 * (flight % 20 < 1.2) + 0.05 * smooth_noise(shape, 3, rng, stretch=8)
        )
    else:
        colour = _colour(rng, (0, 360), (0.04, 0.15), (0.50, 0.70))
        rows = np.log1p(y / 12) * 6
        pattern = 0.07 * np.sign(np.sin(flight * np.float32(0.14)) * np.sin(rows * np.float32(1.6)))
    return _fill(
        shape, colour, pattern.astype(np.float32) + 0.05 * smooth_noise(shape, 30, rng) + _ramp(shape[0], -0.10, 0.08)
    )


def _wood(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    colour = _colour(rng, (24, 38), (0.28, 0.48), (0.55, 0.80))
    y, _ = _axes(shape)
    grain = np.sin((y + 14 * smooth_noise(shape, 18, rng, stretch=7)) * np.float32(rng.uniform(0.35, 0.7)))
    shade = 0.05 * grain + 0.05 * smooth_noise(shape, 2, rng, stretch=14) + _ramp(shape[0], -0.12, 0.08)
    return _fill(shape, colour, shade)


def _grass(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    colour = _colour(rng, (78, 98), (0.38, 0.55), (0.50, 0.66))
    blades = smooth_noise((shape[1], shape[0]), 1.6, rng, stretch=3).T
    shade = 0.14 * blades + 0.10 * smooth_noise(shape, 22, rng, stretch=2) + _ramp(shape[0], 0.08, -0.10)
    return _fill(shape, colour, shade)


def _sky(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    colour = _colour(rng, (200, 215), (0.22, 0.42), (0.82, 0.94))
    clouds = smooth_noise(shape, 26, rng, stretch=2.4) + 0.5 * smooth_noise(shape, 9, rng, stretch=2)
    veil = np.clip(clouds * 0.7 + rng.uniform(-0.2, 0.2) + _ramp(shape[0], 0.0, 0.35), 0, 0.75)[..., None]
    return colour * (1 - veil) + np.float32(0.93) * veil


def _sea(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    colour = _colour(rng, (186, 202), (0.40, 0.58), (0.55, 0.72))
    return _fill(shape, colour, 0.14 * smooth_noise(shape, 2, rng, stretch=9) + _ramp(shape[0], -0.10, 0.15))


def _sand(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    colour = _colour(rng, (34, 44), (0.24, 0.36), (0.78, 0.90))
    ripples = 0.06 * smooth_noise(shape, 5, rng, stretch=6) + 0.05 * smooth_noise(shape, 1.4, rng)
    return _fill(shape, colour, ripples + 0.05 * smooth_noise(shape, 40, rng) + _ramp(shape[0], -0.05, 0.05))
