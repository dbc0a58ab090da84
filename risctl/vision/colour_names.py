"""Names pixels by the eleven basic colour terms of Berlin and Kay: one name where it is clear, or shares of all."""

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


# Typical colours of each name in photographs, RGB of 0 to 255: lit and in the shade, bright and washed out.
_TYPICAL = {
    "black": ((10, 10, 10), (35, 35, 38), (30, 28, 25)),
    "white": ((250, 250, 250), (225, 228, 232), (215, 210, 200)),
    "gray": ((128, 128, 128), (100, 102, 105), (160, 160, 162)),
    "red": ((220, 20, 30), (160, 20, 30), (190, 50, 50)),
    "orange": ((245, 130, 20), (220, 110, 40), (255, 160, 60)),
    "yellow": ((245, 230, 40), (220, 200, 60), (240, 225, 130)),
    "green": ((30, 150, 50), (60, 110, 50), (120, 180, 80), (40, 80, 60)),
    "blue": ((30, 60, 180), (60, 110, 200), (40, 50, 90), (120, 160, 210), (70, 90, 130)),
    "purple": ((120, 40, 140), (100, 70, 130), (150, 110, 180)),
    "pink": ((245, 120, 170), (235, 170, 190), (210, 70, 130), (220, 140, 150)),
    "brown": ((110, 70, 40), (150, 105, 70), (80, 50, 35), (180, 140, 100)),
}
_MOST_TYPICAL = 5
_SOFTNESS = 15.0  # distance in CIELAB at which a colour is still likely to have the name
_LIGHTNESS = 0.7  # how much a difference in lightness counts: less than one in hue, since light differs


def colour_shares(pixels: Tensor) -> Tensor:
    """Returns how probably RGB pixels (..., 3) in [0, 1] have each of `NAMES`, (..., 11), summing to 1.

    By their distances in CIELAB to typical colours of each name. Where `name_pixels` sees no clear name, or a limit
    between two names runs through a shirt, several names get a share.
    """
    typical = torch.tensor(
        [[colours[min(index, len(colours) - 1)] for index in range(_MOST_TYPICAL)] for colours in _TYPICAL.values()],
        device=pixels.device,
    )
    weights = torch.tensor([_LIGHTNESS, 1.0, 1.0], device=pixels.device)
    own, theirs = _lab(pixels.float()) * weights, _lab(typical / 255).flatten(0, 1) * weights
    distances = own.square().sum(-1, keepdim=True) - 2 * own @ theirs.T + theirs.square().sum(-1)
    nearest = distances.unflatten(-1, (len(_TYPICAL), _MOST_TYPICAL)).amin(-1)
    return (-nearest / (2 * _SOFTNESS**2)).softmax(-1)


def _lab(pixels: Tensor) -> Tensor:
    """Returns CIELAB (..., 3) of sRGB (..., 3) in [0, 1], white point D65 (IEC 61966-2-1, CIE 15)."""
    linear = torch.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055).clamp(min=0) ** 2.4)
    to_xyz = torch.tensor(
        [
            [0.4124 / 0.9505, 0.2126, 0.0193 / 1.089],
            [0.3576 / 0.9505, 0.7152, 0.1192 / 1.089],
            [0.1805 / 0.9505, 0.0722, 0.9505 / 1.089],
        ],
        device=pixels.device,
    )
    xyz = linear @ to_xyz
    curved = torch.where(xyz > 0.008856, xyz.clamp(min=1e-6) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = curved.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
