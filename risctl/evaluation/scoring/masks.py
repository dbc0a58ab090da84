"""Brings predicted masks, as they were written, to the form in which they are measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from PIL import Image

from risctl.evaluation.scoring.source import FoundMask, UnreadableMaskError
from risctl.metrics.overlaps import Mask, size_of
from risctl.metrics.protocols import Protocol
from risctl.vision import rle
from risctl.vision.rle import RLE

Resize = Literal["nearest"]


class WrongSizeError(Exception):
    """A mask has another size than its image; the message says both."""


def checked(
    mask: FoundMask,
    *,
    size: tuple[int, int],
    protocols: Sequence[Protocol],
    resize: Resize | None = None,
    threshold: float | None = None,
) -> tuple[Mask, bool]:
    """Returns a mask that can be measured, and whether it was resized.

    A mask of the size at which all protocols compare is taken as it is.

    Args:
        mask: The mask as it was written; None is an empty one.
        size: (height, width) of its image.
        protocols: The protocols; none where masks are compared at the size of their image.
        resize: "nearest" resizes masks whose sides fit the image's to a pixel.
        threshold: Where probabilities belong to the mask; None refuses them.

    Raises:
        WrongSizeError: The size differs and is not to be mended.
        UnreadableMaskError: There are probabilities and no threshold.
    """
    if mask is None:
        return rle.empty(*size), False
    if not isinstance(mask, dict) and mask.dtype.kind == "f":
        if threshold is None:
            raise UnreadableMaskError("it holds probabilities, not a mask; name the threshold with --threshold")
        mask = mask > threshold
    own = size_of(mask)
    if own == size or (protocols and all(protocol.resolution == own for protocol in protocols)):
        return mask, False
    height, width = size
    sizes = f"{own[0]}x{own[1]}, its image {height}x{width} (height x width)"
    if own == (width, height):
        raise WrongSizeError(f"{sizes}; they are exchanged: sizes are [height, width]")
    if resize is None:
        fits = "; --resize nearest takes it" if _same_shape(own, size) else ""
        raise WrongSizeError(f"{sizes}{fits}")
    if not _same_shape(own, size):
        raise WrongSizeError(f"{sizes}; the shape differs by more than a pixel, so it is not resized")
    dense = rle.decode(mask) if isinstance(mask, dict) else mask
    image = Image.fromarray(np.ascontiguousarray(dense).astype(np.uint8))
    return np.asarray(image.resize((width, height), Image.Resampling.NEAREST)) > 0, True


def united(masks: Sequence[Mask]) -> Mask:
    """Returns the union of masks of one size."""
    if len(masks) == 1:
        return masks[0]
    encoded: list[RLE] = [mask if isinstance(mask, dict) else rle.encode(mask) for mask in masks]
    return rle.union(encoded)


def _same_shape(own: tuple[int, int], size: tuple[int, int]) -> bool:
    """Returns whether a mask, scaled to the image's height or width, fits the other side to a pixel."""
    (h, w), (height, width) = own, size
    return abs(h * width / w - height) <= 1 or abs(w * height / h - width) <= 1
