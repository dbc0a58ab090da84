"""Letterboxing a picture into a square, and its exact inverse.

The scaled size is truncated, not rounded, as the Darknet family does: `int(width * min(size/width, size/height))` can
give 415 where one expects 416, and masks are compared at original size, so the inverse must use the very same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterbox:
    """How a picture of `height` x `width` lies in a square of `size`: scaled to `inner_height` x `inner_width` at
    (`top`, `left`). All in pixels."""

    height: int
    width: int
    size: int
    inner_height: int
    inner_width: int
    top: int
    left: int

    @classmethod
    def fit(cls, *, height: int, width: int, size: int) -> Letterbox:
        """Return the letterbox of a picture of `height` x `width` in a square of `size`, centred."""
        scale = min(size / width, size / height)
        # A picture of 1 x 5000 would otherwise have no rows left.
        inner_width, inner_height = max(1, int(width * scale)), max(1, int(height * scale))
        return cls(
            height=height,
            width=width,
            size=size,
            inner_height=inner_height,
            inner_width=inner_width,
            top=(size - inner_height) // 2,
            left=(size - inner_width) // 2,
        )

    def image(self, image: np.ndarray, *, fill: float) -> Tensor:
        """Return (3, size, size) float32 in [0, 1] of a uint8 picture (H, W, 3), the border filled with `fill`.

        Bicubic without antialiasing, rounded back to 8 bits before it is scaled: what OpenCV's INTER_CUBIC does on
        uint8, which the Darknet-based codebases use.
        """
        square = torch.full((3, self.size, self.size), fill)
        # A channel at a time: of a photograph of 100 megapixels, the whole as floats would take gigabytes.
        for channel in range(3):
            pixels = torch.from_numpy(np.ascontiguousarray(image[..., channel]))[None, None].float()
            inner = self._cubic(pixels).round_().clamp_(0, 255).div_(255)
            square[channel, self.rows, self.columns] = inner[0, 0]
        return square

    def mask(self, mask: np.ndarray, *, size: int) -> Tensor:
        """Return the soft target (size, size) in [0, 1] of a bool mask (H, W): cubic, boxed, then nearest."""
        pixels = torch.from_numpy(mask.astype(np.float32))[None, None]
        square = torch.zeros((1, 1, self.size, self.size))
        square[..., self.rows, self.columns] = self._cubic(pixels).clamp_(0, 1)
        return functional.interpolate(square, size=(size, size), mode="nearest")[0, 0]

    def padding(self) -> Tensor:
        """Return (size, size) bool, True where there is no picture."""
        border = torch.ones((self.size, self.size), dtype=torch.bool)
        border[self.rows, self.columns] = False
        return border

    def invert(self, maps: Tensor) -> Tensor:
        """Return maps (N, h, w) of the square as maps (N, height, width) of the picture, bilinear both ways."""
        square = functional.interpolate(
            maps[:, None], size=(self.size, self.size), mode="bilinear", align_corners=False
        )
        inner = square[..., self.rows, self.columns]
        return functional.interpolate(inner, size=(self.height, self.width), mode="bilinear", align_corners=False)[:, 0]

    @property
    def rows(self) -> slice:
        """The rows of the square that the picture covers."""
        return slice(self.top, self.top + self.inner_height)

    @property
    def columns(self) -> slice:
        """The columns of the square that the picture covers."""
        return slice(self.left, self.left + self.inner_width)

    def _cubic(self, pixels: Tensor) -> Tensor:
        size = (self.inner_height, self.inner_width)
        return functional.interpolate(pixels, size=size, mode="bicubic", align_corners=False, antialias=False)
