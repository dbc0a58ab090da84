"""Computes how a predicted mask overlaps its target, at the resolution and threshold of a protocol."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeGuard

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
    """How a prediction overlaps its target.

    Attributes:
        intersection: Pixels in both.
        union: Pixels in either.
        predicted: Pixels of the prediction.
    """

    intersection: int
    union: int
    predicted: int

    @property
    def target(self) -> int:
        """Pixels of the target."""
        return self.intersection + self.union - self.predicted


def size_of(mask: Mask) -> tuple[int, int]:
    """Returns (height, width) of a mask or a probability map.

    Raises:
        ValueError: An array is not (H, W).
    """
    if isinstance(mask, dict):
        height, width = mask["size"]
        return height, width
    if mask.ndim != 2:
        raise ValueError(f"a mask is (H, W); got shape {mask.shape}")
    return mask.shape[0], mask.shape[1]


def overlap(prediction: Mask, target: Mask, *, resolution: Resolution = "original", threshold: float = 0.5) -> Overlap:
    """Computes how a prediction, a mask or a probability map, overlaps its target.

    Two RLEs at original size are compared without being decoded.

    Raises:
        ValueError: The sizes differ.
    """
    if size_of(prediction) != size_of(target):
        raise ValueError(f"prediction {size_of(prediction)} and target {size_of(target)} differ in (height, width)")
    if resolution == "original" and isinstance(prediction, dict) and isinstance(target, dict):
        shared, either = rle.overlap(prediction, target)
        return Overlap(shared, either, rle.area(prediction))
    found = predicted_mask(prediction, resolution=resolution, threshold=threshold)
    return overlap_of_masks(found, target_mask(target, resolution=resolution))


def overlap_of_masks(found: np.ndarray, target: np.ndarray) -> Overlap:
    """Computes the overlap of two bool masks (H, W) of one size."""
    predicted, wanted = int(np.count_nonzero(found)), int(np.count_nonzero(target))
    shared = int(np.count_nonzero(found & target)) if predicted and wanted else 0
    return Overlap(shared, predicted + wanted - shared, predicted)


def predicted_mask(prediction: Mask, *, resolution: Resolution = "original", threshold: float = 0.5) -> np.ndarray:
    """Returns the bool mask of a prediction at `resolution`.

    Probabilities are resized bilinearly and then compared with the threshold; masks are resized by nearest neighbour.
    """
    if not is_probable(prediction):
        return target_mask(prediction, resolution=resolution)
    return resized_map(prediction, resolution=resolution) > threshold


def is_probable(prediction: Mask) -> TypeGuard[np.ndarray]:
    """Returns whether `prediction` is a probability map, to be compared with a threshold, and not yet a mask."""
    return not isinstance(prediction, dict) and prediction.dtype.kind == "f"


def resized_map(probability: np.ndarray, *, resolution: Resolution) -> np.ndarray:
    """Returns a probability map (H, W) at `resolution`, resized bilinearly in float32; unchanged if it fits."""
    if resolution == "original" or probability.shape == resolution:
        return probability
    maps = torch.from_numpy(np.ascontiguousarray(probability, dtype=np.float32))[None, None]
    return functional.interpolate(maps, size=resolution, mode="bilinear", align_corners=False)[0, 0].numpy()


def target_mask(mask: Mask, *, resolution: Resolution = "original") -> np.ndarray:
    """Returns a bool mask at `resolution`, resized by nearest neighbour.

    Resized by Pillow, as LAVT does: it takes the pixel under the new pixel's centre, where torch's "nearest" takes the
    one under its corner; and where a centre falls on a border, as every third does from 640 to 480, Pillow's own
    rounding decides.
    """
    dense = rle.decode(mask) if isinstance(mask, dict) else mask.astype(bool, copy=False)
    if resolution == "original" or dense.shape == resolution:
        return dense
    rows, columns = resolution
    # Along the axis whose lines lie together in memory first: for a mask decoded from an RLE, that is the columns.
    if dense.flags.f_contiguous:
        return _taken(_taken(dense, columns, axis=1), rows, axis=0)
    return _taken(_taken(dense, rows, axis=0), columns, axis=1)


def _taken(mask: np.ndarray, length: int, *, axis: int) -> np.ndarray:
    if mask.shape[axis] == length:
        return mask
    # Transposed twice, as numpy's `take` gives an array by rows whatever it was given.
    places = _pillow_places(mask.shape[axis], length)
    return mask.take(places, axis=0) if axis == 0 else mask.T.take(places, axis=0).T


@lru_cache(maxsize=1024)
def _pillow_places(old: int, new: int) -> np.ndarray:
    """Returns which of `old` pixels Pillow takes for each of `new` ones, int64 (new,): the same along either axis."""
    line = Image.fromarray(np.arange(old, dtype=np.int32)[None])
    places = np.asarray(line.resize((new, 1), Image.Resampling.NEAREST))[0].astype(np.int64)
    places.setflags(write=False)
    return places


def generalised_box_iou(first: Sequence[float], second: Sequence[float]) -> float:
    """Returns the generalised IoU (Rezatofighi et al., CVPR 2019) of two boxes, from -1 to 1.

    Args:
        first: (x, y, width, height).
        second: (x, y, width, height).
    """
    shared, around = 1.0, 1.0
    for axis in (0, 1):
        starts = (first[axis], second[axis])
        ends = (first[axis] + first[axis + 2], second[axis] + second[axis + 2])
        shared *= max(0.0, min(ends) - max(starts))
        around *= max(ends) - min(starts)
    union = first[2] * first[3] + second[2] * second[3] - shared
    if union <= 0 or around <= 0:
        return -1.0
    return shared / union - (around - union) / around
