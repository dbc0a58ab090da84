"""What was to be found beside what was found: two pictures of one size, side by side."""

from __future__ import annotations

import numpy as np
from PIL import Image

from risctl.vision.drawing.overlays import overlay

_GAP = 6


def beside(image: np.ndarray, *, target: np.ndarray, found: np.ndarray, side: int) -> np.ndarray:
    """Return `image` (H, W, 3) uint8 twice, uint8 (h, 2w + 6, 3), its longer side scaled down to `side` pixels.

    Left with the bool mask `target` (H, W) in the palette's first colour, right with `found` in its second. Both
    masks keep at least one pixel if they have any. Raises `ValueError` for masks of another size.
    """
    height, width = image.shape[:2]
    for mask in (target, found):
        if mask.shape != (height, width):
            raise ValueError(f"a mask is of the picture's size {(height, width)}; got {mask.shape}")
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)) if scale < 1 else image
    left, right = _resized(target, size), _resized(found, size)
    gap = np.full((small.shape[0], _GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([overlay(small, [left]), gap, overlay(small, [np.zeros_like(right), right])], axis=1)


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    if mask.shape == (height, width):
        return mask
    share = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX))
    small: np.ndarray = share >= 128
    # A thing smaller than a pixel of the small picture is still a thing.
    return small if small.any() else share == max(1, int(share.max()))
