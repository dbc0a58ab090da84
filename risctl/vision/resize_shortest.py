"""A picture scaled to a short side, as it is, without a border; and the inverse. What DETR's family does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortSide:
    """How a picture of `height` x `width` becomes an input of `inner_height` x `inner_width`. All in pixels."""

    height: int
    width: int
    inner_height: int
    inner_width: int

    @classmethod
    def fit(cls, *, height: int, width: int, short: int, longest: int | None = None) -> ShortSide:
        """Return the input of a picture whose short side becomes `short`, or less if the other would pass `longest`."""
        small, large = min(height, width), max(height, width)
        if longest is not None and large / small * short > longest:
            short = max(1, round(longest * small / large))
        other = max(1, int(short * large / small))
        inner = (short, other) if height <= width else (other, short)
        return cls(height=height, width=width, inner_height=inner[0], inner_width=inner[1])

    def image(self, image: np.ndarray) -> Tensor:
        """Return (3, inner_height, inner_width) float32 in [0, 1] of a uint8 picture (H, W, 3), bilinear as in PIL."""
        size = (self.inner_width, self.inner_height)
        pixels = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div_(255)

    def mask(self, mask: np.ndarray) -> Tensor:
        """Return the target (inner_height, inner_width), 0 or 1, of a bool mask (H, W), by nearest pixels."""
        pixels = torch.from_numpy(mask.astype(np.float32))[None, None]
        return functional.interpolate(pixels, size=(self.inner_height, self.inner_width), mode="nearest")[0, 0]

    def padding(self) -> Tensor:
        """Return (inner_height, inner_width) bool, all False: the input is all picture."""
        return torch.zeros((self.inner_height, self.inner_width), dtype=torch.bool)

    def invert(self, maps: Tensor) -> Tensor:
        """Return maps (N, h, w) of the input as maps (N, height, width) of the picture, bilinear."""
        size = (self.height, self.width)
        return functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
