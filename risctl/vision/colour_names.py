"""Names pixels by the eleven basic colour terms of Berlin and Kay, where the name is clear."""

from __future__ import annotations

import torch
from torch import Tensor

NAMES = ("black", "white", "gray", "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")


def name_pixels(pixels: Tensor) -> Tensor:
    """Returns the index into `NAMES`, int64 (...), of RGB pixels (..., 3) in [0, 1], -1 where no name is clear."""
    highest, lowest = pixels.amax(-1), pixels.amin(-1)
    spread = highest - lowest
    saturation = spread / highest.clamp(min=1e-6)
    red, green, blue = pixels.unbind(-1)
    safe = spread.clamp(min=1e-6)
    hue = torch.where(
        highest == red,
        ((green - blue) / safe) % 6,
        torch.where(highest == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = hue * 60
    pale = saturation < 0.16
    # Earlier rules take precedence.
    rules: list[tuple[Tensor, str | None]] = [
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
    named = torch.full(highest.shape, -1, dtype=torch.int64, device=pixels.device)
    for holds, name in reversed(rules):
        named = torch.where(holds, -1 if name is None else NAMES.index(name), named)
    return named
