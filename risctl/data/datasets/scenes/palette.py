"""Samples colours from well separated ranges of hue, saturation and value, one range a name.

Between any two ranges lies more than what shading, texture, light and noise can bridge, so that nobody would call a
"red" object orange.
"""

from __future__ import annotations

import colorsys

import numpy as np

# (hue in degrees, saturation, value), each as (low, high); a negative hue wraps around.
_RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-6, 3), (0.80, 0.92), (0.68, 0.86)),
    "orange": ((25, 31), (0.88, 0.97), (0.93, 1.00)),
    "yellow": ((51, 56), (0.75, 0.90), (0.92, 0.99)),
    "green": ((112, 142), (0.60, 0.82), (0.42, 0.64)),
    "blue": ((214, 229), (0.70, 0.88), (0.62, 0.88)),
    "purple": ((272, 284), (0.52, 0.72), (0.46, 0.64)),
    "pink": ((329, 341), (0.36, 0.48), (0.94, 1.00)),
    "brown": ((21, 27), (0.58, 0.72), (0.34, 0.44)),
    "black": ((0, 360), (0.00, 0.10), (0.09, 0.15)),
    "white": ((0, 360), (0.00, 0.04), (0.94, 0.99)),
    "gray": ((200, 230), (0.00, 0.07), (0.48, 0.57)),
}

COLOURS: tuple[str, ...] = tuple(_RANGES)

FIXED: dict[str, tuple[float, float, float]] = {
    "ink": (0.10, 0.10, 0.12),
    "paper": (0.95, 0.94, 0.90),
    "wood": (0.45, 0.31, 0.19),
    "metal": (0.66, 0.68, 0.71),
    "glass": (0.72, 0.84, 0.90),
    "leaf": (0.24, 0.50, 0.20),
    "slate": (0.36, 0.36, 0.40),
    "beak": (0.93, 0.66, 0.20),
}
"""Tones of parts whose colour is not the object's."""


def sample(name: str, rng: np.random.Generator) -> np.ndarray:
    """Returns a colour that is called `name`, as float32 RGB (3,) in [0, 1]."""
    hue, saturation, value = (rng.uniform(*span) for span in _RANGES[name])
    return np.array(colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value), dtype=np.float32)


def tone(name: str, main: np.ndarray) -> tuple[int, int, int]:
    """Returns the 8-bit colour of a part of `name` on an object of the colour `main`."""
    if name == "main":
        shade = main
    elif name == "dark":
        shade = main * 0.66
    elif name == "light":
        shade = main + (1 - main) * 0.30
    else:
        shade = np.array(FIXED[name], dtype=np.float32)
    red, green, blue = (round(float(part) * 255) for part in shade)
    return red, green, blue
