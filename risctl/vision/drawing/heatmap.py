"""Colours of numbers on an image: a scale that is even in lightness and safe for colour-blind readers."""

from __future__ import annotations

import numpy as np
from PIL import Image

# Anchors of viridis (van der Walt and Smith, 2015), from low to high.
_ANCHORS = np.array(
    [(68, 1, 84), (65, 68, 135), (42, 120, 142), (34, 168, 132), (122, 209, 81), (253, 231, 37)], dtype=np.float32
)


def viridis(values: np.ndarray) -> np.ndarray:
    """Returns the colours, float32 RGB (..., 3) from 0 to 255, of values (...) that are clipped to [0, 1]."""
    position = np.nan_to_num(values, nan=0.0).clip(0, 1) * (len(_ANCHORS) - 1)
    below = np.minimum(position.astype(np.int64), len(_ANCHORS) - 2)
    share = (position - below)[..., None].astype(np.float32)
    return _ANCHORS[below] * (1 - share) + _ANCHORS[below + 1] * share


def heatmap_overlay(image: np.ndarray, values: np.ndarray, *, strength: float = 0.72) -> np.ndarray:
    """Draws a heatmap on the grey image.

    Args:
        image: RGB, uint8 (H, W, 3).
        values: (H, W) in [0, 1].
        strength: Opacity of the heatmap.

    Returns:
        Uint8 (H, W, 3).
    """
    grey = np.asarray(Image.fromarray(image).convert("L"), dtype=np.float32)[..., None]
    return np.rint((1 - strength) * grey + strength * viridis(values)).astype(np.uint8)


def outline(mask: np.ndarray) -> np.ndarray:
    """Returns the inner outline, bool (H, W), of a bool mask (H, W); the image's border does not count as outside."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return mask & ~inner
