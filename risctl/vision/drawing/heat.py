"""Numbers on a picture as colours: a scale that rises evenly in lightness and stays apart for colour-blind eyes."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Anchors of viridis (van der Walt and Smith, 2015), from low to high.
_ANCHORS = np.array(
    [(68, 1, 84), (65, 68, 135), (42, 120, 142), (34, 168, 132), (122, 209, 81), (253, 231, 37)], dtype=np.float32
)


def colours_of(values: np.ndarray) -> np.ndarray:
    """Return float32 RGB (..., 3), 0 to 255, of values in [0, 1]; others are taken as the nearest of these."""
    place = np.nan_to_num(values, nan=0.0).clip(0, 1) * (len(_ANCHORS) - 1)
    below = np.minimum(place.astype(np.int64), len(_ANCHORS) - 2)
    share = (place - below)[..., None].astype(np.float32)
    return _ANCHORS[below] * (1 - share) + _ANCHORS[below + 1] * share


def heat(image: np.ndarray, values: np.ndarray, *, strength: float = 0.72) -> np.ndarray:
    """Return a picture (H, W, 3) uint8 in grey under the colours of values (H, W) in [0, 1], uint8 (H, W, 3)."""
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float32)[..., None]
    return np.rint((1 - strength) * grey + strength * colours_of(values)).astype(np.uint8)


def outline(mask: np.ndarray) -> np.ndarray:
    """Return the cells of a bool mask (H, W) that touch one outside it; the picture's border is no outside."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return mask & ~inner
