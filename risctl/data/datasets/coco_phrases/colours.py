"""The everyday name of a thing's colour, read from the pixels under its mask, where it plainly has one."""

from __future__ import annotations

import numpy as np
import torch

from risctl.vision.colour_names import NAMES, name_pixels

_PLAIN = 0.5  # the share of pixels that one name must cover
_FEW = 60  # pixels below which nothing is said
# Whose colour nobody names, for all of a kind have the same.
COLOURLESS = frozenset({"zebra", "giraffe", "elephant", "broccoli", "carrot", "banana", "orange", "pizza"})
_FURRED = frozenset({"cat", "dog", "horse", "cow", "sheep", "bear", "teddy bear"})


def colour_of(image: np.ndarray, mask: np.ndarray, *, category: str) -> str | None:
    """Returns the colour's name of the thing under `mask` (H, W) bool in `image` (H, W, 3) uint8, None if unsure.

    Of a person, "in red" speaks of the clothes on the upper body, so only these rows are looked at.
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
    if len(pixels) < _FEW:
        return None
    named = name_pixels(torch.from_numpy(pixels.astype(np.float32) / 255)).numpy()
    counts = np.bincount(named[named >= 0], minlength=len(NAMES))
    best = int(counts.argmax())
    if counts[best] <= _PLAIN * len(pixels):
        return None
    # What a camera sees as red or orange fur is called brown.
    return "brown" if category in _FURRED and NAMES[best] in ("red", "orange") else NAMES[best]
