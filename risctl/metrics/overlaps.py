"""Intersections and unions of a predicted mask with its target, at the resolution and threshold of a protocol."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from risctl.metrics.protocols import Resolution
from risctl.vision import rle
from risctl.vision.rle import RLE

Mask = np.ndarray | RLE
"""A bool mask (H, W) or its RLE. Where a prediction is meant, also a map of probabilities (H, W) of a float type."""


class Overlap(NamedTuple):
    """Pixels shared, pixels in either, pixels predicted; pixels of the target follow from them."""

    intersection: int
    union: int
    predicted: int

    @property
    def target(self) -> int:
        """Pixels of the target."""
        return self.intersection + self.union - self.predicted


def size_of(mask: Mask) -> tuple[int, int]:
    """Return (height, width) of a mask or a map. Raises `ValueError` for an array that is not (H, W)."""
    if isinstance(mask, dict):
        height, width = mask["size"]
        return height, width
    if mask.ndim != 2:
        raise ValueError(f"a mask is (H, W); got shape {mask.shape}")
    return mask.shape[0], mask.shape[1]


def overlap(prediction: Mask, target: Mask, *, resolution: Resolution = "original", threshold: float = 0.5) -> Overlap:
    """Return how `prediction`, a mask or a map of probabilities, overlaps `target`.

    Two RLEs at original size are compared without being decoded. Raises `ValueError` if the sizes differ.
    """
    if size_of(prediction) != size_of(target):
        raise ValueError(f"prediction {size_of(prediction)} and target {size_of(target)} differ in (height, width)")
    if resolution == "original" and isinstance(prediction, dict) and isinstance(target, dict):
        shared, either = rle.overlap(prediction, target)
        return Overlap(shared, either, rle.area(prediction))
    found = predicted_mask(prediction, resolution=resolution, threshold=threshold)
    return overlap_of_masks(found, target_mask(target, resolution=resolution))


def overlap_of_masks(found: np.ndarray, target: np.ndarray) -> Overlap:
    """Return the overlap of two bool masks (H, W) of one size."""
    predicted, wanted = int(np.count_nonzero(found)), int(np.count_nonzero(target))
    shared = int(np.count_nonzero(found & target)) if predicted and wanted else 0
    return Overlap(shared, predicted + wanted - shared, predicted)


def predicted_mask(prediction: Mask, *, resolution: Resolution = "original", threshold: float = 0.5) -> np.ndarray:
    """Return the bool mask of `prediction` at `resolution`.

    Probabilities are resized bilinearly and then compared with the threshold, masks are resized by nearest.
    """
    if isinstance(prediction, dict) or prediction.dtype.kind not in "f":
        return target_mask(prediction, resolution=resolution)
    if resolution != "original" and prediction.shape != resolution:
        maps = torch.from_numpy(np.ascontiguousarray(prediction, dtype=np.float32))[None, None]
        prediction = functional.interpolate(maps, size=resolution, mode="bilinear", align_corners=False)[0, 0].numpy()
    return prediction > threshold


def target_mask(mask: Mask, *, resolution: Resolution = "original") -> np.ndarray:
    """Return a bool mask at `resolution`, resized by nearest.

    By Pillow, as LAVT does: it takes the pixel under the new one's centre, torch's "nearest" that under its corner, and
    where a centre falls on a border, as every third does from 640 to 480, Pillow's own rounding decides.
    """
    dense = rle.decode(mask) if isinstance(mask, dict) else mask.astype(bool, copy=False)
    if resolution == "original" or dense.shape == resolution:
        return dense
    height, width = resolution
    pixels = Image.fromarray(np.ascontiguousarray(dense).view(np.uint8))
    return np.asarray(pixels.resize((width, height), Image.Resampling.NEAREST)).astype(bool)
