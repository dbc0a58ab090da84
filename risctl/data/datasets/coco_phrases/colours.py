"""The everyday name of a thing's colour, read from the pixels under its mask, where it plainly has one."""

from __future__ import annotations

import numpy as np

NAMES = ("black", "white", "gray", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
_PLAIN = 0.5  # the share of pixels that one name must cover
_FEW = 60  # pixels below which nothing is said
# Whose colour nobody names, for all of a kind have the same.
COLOURLESS = frozenset({"zebra", "giraffe", "elephant", "broccoli", "carrot", "banana", "orange", "pizza"})
_FURRED = frozenset({"cat", "dog", "horse", "cow", "sheep", "bear", "teddy bear"})


def name_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return the index into `NAMES` of each pixel of uint8 RGB (N, 3), -1 where no name is sure."""
    values = pixels.astype(np.float32) / 255
    highest, lowest = values.max(1), values.min(1)
    spread = highest - lowest
    saturation = spread / np.maximum(highest, 1e-6)
    red, green, blue = values.T
    safe = np.maximum(spread, 1e-6)
    hue = np.select(
        [highest == red, highest == green],
        [(green - blue) / safe % 6, (blue - red) / safe + 2],
        default=(red - green) / safe + 4,
    )
    hue = hue * 60
    pale = saturation < 0.16
    # Later rules give way to earlier ones.
    rules = [
        (highest < 0.2, "black"),
        (pale & (highest > 0.75), "white"),
        (pale & (highest > 0.3) & (highest < 0.68), "gray"),
        (pale, None),
        (saturation < 0.28, None),
        (((hue < 14) | (hue > 340)) & (saturation < 0.5) & (highest > 0.7), "pink"),
        ((hue < 42) & (highest < 0.58), "brown"),
        ((hue < 12) | (hue > 345), "red"),
        (hue < 40, "orange"),
        (hue < 68, "yellow"),
        (hue < 165, "green"),
        (hue < 255, "blue"),
        (hue < 295, "purple"),
        (hue <= 345, "pink"),
    ]
    index = [-1 if name is None else NAMES.index(name) for _, name in rules]
    return np.select([rule for rule, _ in rules], index, default=-1)


def colour_of(image: np.ndarray, mask: np.ndarray, *, category: str) -> str | None:
    """Return the colour's name of the thing under `mask` (H, W) bool in `image` (H, W, 3) uint8, None if unsure.

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
    named = name_pixels(pixels)
    counts = np.bincount(named[named >= 0], minlength=len(NAMES))
    best = int(counts.argmax())
    if counts[best] <= _PLAIN * len(pixels):
        return None
    # What a camera sees as red or orange fur is called brown.
    return "brown" if category in _FURRED and NAMES[best] in ("red", "orange") else NAMES[best]
