"""A picture scaled to a longest side, at the top left of an input just large enough, and the inverse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """How a picture of `height` x `width` lies in an input: scaled to `inner_height` x `inner_width`, at the top left

    of `input_height` x `input_width`, multiples of a network's stride. All in pixels.
    """

    height: int
    width: int
    inner_height: int
    inner_width: int
    input_height: int
    input_width: int

    @classmethod
    def fit(cls, *, height: int, width: int, longest: int, multiple: int) -> Fitted:
        """Return how a picture lies in its input if its longest side is scaled to `longest`."""
        scale = longest / max(height, width)
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
        return cls(
            height=height,
            width=width,
            inner_height=inner[0],
            inner_width=inner[1],
            input_height=-(-inner[0] // multiple) * multiple,
            input_width=-(-inner[1] // multiple) * multiple,
        )

    def image(self, image: np.ndarray) -> Tensor:
        """Return (3, input_height, input_width) float32 in [0, 1] of a uint8 picture (H, W, 3), the rest zero.

        Bilinear with antialiasing, so that scaling down keeps what thin things there are.
        """
        placed = torch.zeros((3, self.input_height, self.input_width))
        # A channel at a time: of a photograph of 100 megapixels, the whole as floats would take gigabytes.
        for channel in range(3):
            pixels = torch.from_numpy(np.ascontiguousarray(image[..., channel]))[None, None].float()
            placed[channel, : self.inner_height, : self.inner_width] = self._scaled(pixels)[0, 0].div_(255)
        return placed

    def mask(self, mask: np.ndarray) -> Tensor:
        """Return the soft target (input_height, input_width) in [0, 1] of a bool mask (H, W)."""
        placed = torch.zeros((self.input_height, self.input_width))
        pixels = torch.from_numpy(mask.astype(np.float32))[None, None]
        placed[: self.inner_height, : self.inner_width] = self._scaled(pixels)[0, 0]
        return placed

    def padding(self) -> Tensor:
        """Return (input_height, input_width) bool, True where there is no picture."""
        border = torch.ones((self.input_height, self.input_width), dtype=torch.bool)
        border[: self.inner_height, : self.inner_width] = False
        return border

    def invert(self, maps: Tensor) -> Tensor:
        """Return maps (N, h, w) of the input as maps (N, height, width) of the picture, bilinear both ways."""
        size = (self.input_height, self.input_width)
        whole = functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)
        inner = whole[..., : self.inner_height, : self.inner_width]
        return functional.interpolate(inner, size=(self.height, self.width), mode="bilinear", align_corners=False)[:, 0]

    def _scaled(self, pixels: Tensor) -> Tensor:
        size = (self.inner_height, self.inner_width)
        return functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
