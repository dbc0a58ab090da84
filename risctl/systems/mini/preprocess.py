"""Preprocesses images, expressions and masks for mini."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from risctl.core.encoders.text.hashed_words import WordIds
from risctl.data.batch import checked_geometry
from risctl.errors import UsageError
from risctl.vision.geometry import Geometry
from risctl.vision.resize import Letterbox

FILL = 0.45
"""The value of the border: near the mean of photographs, so that nothing is detected there."""


class MiniPreprocess:
    """Letterboxes images into a square of `size` pixels and turns texts into ids of words and n-grams.

    Ids are flat, a fixed number per word, so that they collate as any token ids do.
    """

    def __init__(self, *, size: int, words: Sequence[str], buckets: int, max_words: int) -> None:
        self.size = size
        self.fill = FILL
        self.max_words = max_words
        self.word_ids = WordIds(words, buckets=buckets, max_words=max_words)

    def image(self, image: np.ndarray) -> tuple[Tensor, Letterbox]:
        """Resizes an image into the square input, bilinearly with antialiasing: photographs shrink about tenfold.

        Args:
            image: uint8 RGB (H, W, 3).

        Returns:
            The input (3, size, size), RGB in [0, 1], and how the image lies in it.
        """
        geometry = self.fit(height=image.shape[0], width=image.shape[1])
        inner = _scaled(torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None], geometry)
        square = torch.full((3, self.size, self.size), self.fill)
        square[:, geometry.rows, geometry.columns] = inner[0].float() / 255
        return square, geometry

    def fit(self, *, height: int, width: int) -> Letterbox:
        """Returns how `image` lays out an image of this size."""
        return Letterbox.fit(height=height, width=width, size=self.size)

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Returns ids (max_words * per_word,) int64 and their mask, bool.

        Raises:
            UsageError: The text has no word.
        """
        ids = self.word_ids(text)
        present = ids[:, :1] > 0
        if not present.any():
            raise UsageError(f"expected a text with at least one word, got {text!r:.60}")
        return ids.flatten(), present.expand_as(ids).flatten()

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Returns the soft target (size / 4, size / 4) float32 in [0, 1] of a bool mask (H, W)."""
        box = checked_geometry(geometry, Letterbox)
        square = torch.zeros((1, 1, self.size, self.size))
        square[..., box.rows, box.columns] = _scaled(torch.from_numpy(mask.astype(np.float32))[None, None], box)
        return functional.avg_pool2d(square, 4)[0, 0]

    def instance_masks(self, masks: np.ndarray, geometry: Geometry) -> Tensor:
        """Returns masks (N, size, size) bool of masks (N, H, W) bool: at the input's size, for small instances."""
        box = checked_geometry(geometry, Letterbox)
        square = torch.zeros((len(masks), self.size, self.size), dtype=torch.bool)
        square[:, box.rows, box.columns] = _scaled(torch.from_numpy(masks.astype(np.uint8) * 255)[None], box)[0] > 127
        return square


def _scaled(pixels: Tensor, geometry: Letterbox) -> Tensor:
    """Returns pixels (1, C, H, W) at the size that they have within the square."""
    size = (geometry.inner_height, geometry.inner_width)
    return functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
