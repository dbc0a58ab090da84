"""Names the colour of an instance from the pixels under its mask, where one colour dominates."""

from __future__ import annotations

import numpy as np
import torch

from risctl.vision.colour_names import NAMES, name_pixels

_MIN_SHARE = 0.5  # the share of pixels that one name must cover
_MIN_PIXELS = 60  # pixels below which nothing is said
# Categories whose colour nobody names, since all of them have the same.
COLOURLESS = frozenset({"zebra", "giraffe", "elephant", "broccoli", "carrot", "banana", "orange", "pizza"})
FURRED = frozenset({"cat", "dog", "horse", "cow", "sheep", "bear", "teddy bear"})


def colour_of(image: np.ndarray, mask: np.ndarray, *, category: str) -> str | None:
    """Returns the name of an instance's colour.

    "In red", of a person, refers to the clothes on the upper body, so only these rows are read.

    Args:
        image: The image, uint8 of shape (H, W, 3).
        mask: Its mask, bool of shape (H, W).
        category: Its category's name.

    Returns:
        The name, or None if no colour dominates or the instance is too small.
    """
    if category in COLOURLESS:
        return None
    rows = np.flatnonzero(mask.any(1))
    if category == "person" and len(rows):
        top, height = rows[0], len(rows)
        mask = mask.copy()
        mask[: top + int(0.22 * height)] = False
        mask[top + int(0.55 * height) :] = False
    pixels = image[mask]
    if len(pixels) < _MIN_PIXELS:
        return None
    named = name_pixels(torch.from_numpy(pixels.astype(np.float32) / 255)).numpy()
    counts = np.bincount(named[named >= 0], minlength=len(NAMES))
    return named_shares(counts / len(pixels), category=category)


def named_shares(shares: np.ndarray, *, category: str) -> str | None:
    """Returns the colour of an instance whose pixels have these shares of `NAMES`; None if none dominates."""
    best = int(shares.argmax())
    if category in COLOURLESS or shares[best] <= _MIN_SHARE:
        return None
    # What a camera sees as red or orange fur is called brown.
    return "brown" if category in FURRED and NAMES[best] in ("red", "orange") else NAMES[best]
