"""Draws a target and a predicted mask on the same image, side by side."""

from __future__ import annotations

import numpy as np
from PIL import Image

from risctl.vision.drawing.overlays import overlay

_GAP = 6


def side_by_side(image: np.ndarray, *, target: np.ndarray, predicted: np.ndarray, side: int) -> np.ndarray:
    """Draws `target` on the left and `predicted` on the right, in the first two colours of the palette.

    Args:
        image: RGB, uint8 (H, W, 3).
        target: Bool (H, W).
        predicted: Bool (H, W).
        side: The longer side of each half, in pixels; a smaller image is not scaled up.

    Returns:
        Uint8 (h, 2w + 6, 3). A mask that has a pixel keeps at least one.

    Raises:
        ValueError: A mask is of another size than the image.
    """
    height, width = image.shape[:2]
    for mask in (target, predicted):
        if mask.shape != (height, width):
            raise ValueError(f"a mask is of the image's size {(height, width)}; got {mask.shape}")
    scale = min(1.0, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)) if scale < 1 else image
    left, right = _resized(target, size), _resized(predicted, size)
    gap = np.full((small.shape[0], _GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([overlay(small, [left]), gap, overlay(small, [np.zeros_like(right), right])], axis=1)


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    width, height = size
    if mask.shape == (height, width):
        return mask
    share = np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX))
    small: np.ndarray = share >= 128
    # An object smaller than a pixel of the small image stays visible.
    return small if small.any() else share == max(1, int(share.max()))
