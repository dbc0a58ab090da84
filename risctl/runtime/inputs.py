"""Turns images into the inputs of exported graphs, as the systems' preprocessing does in torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from risctl.runtime.resize import antialiased, bilinear, nearest
from risctl.vision.letterbox_numbers import letterbox_numbers
from risctl.vision.shortest_numbers import shortest_numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Letterboxed:
    """An image in a square.

    Attributes:
        images: (1, 3, size, size) float32 in [0, 1].
        padding: (1, size, size) bool, True outside the image.
        height: Rows of the image.
        width: Columns of the image.
        rows: The rows of the square that it covers.
        columns: The columns that it covers.
    """

    images: np.ndarray
    padding: np.ndarray
    height: int
    width: int
    rows: slice
    columns: slice

    def restore(self, maps: np.ndarray) -> np.ndarray:
        """Returns a map (h, w) of the square as one of the image, (height, width)."""
        size = self.padding.shape[1]
        inner = bilinear(maps, height=size, width=size)[self.rows, self.columns]
        return bilinear(inner, height=self.height, width=self.width)


def mini_image(pixels: np.ndarray, settings: Mapping[str, Any]) -> Letterboxed:
    """Returns mini's input: resized bilinearly with antialiasing, in a square of one grey."""
    height, width = pixels.shape[:2]
    size, numbers = settings["size"], letterbox_numbers(height=height, width=width, size=settings["size"])
    rows = slice(numbers["top"], numbers["top"] + numbers["inner_height"])
    columns = slice(numbers["left"], numbers["left"] + numbers["inner_width"])
    inner = antialiased(pixels, height=numbers["inner_height"], width=numbers["inner_width"])
    images = np.full((1, 3, size, size), settings["fill"], dtype=np.float32)
    np.divide(inner.transpose(2, 0, 1), 255, out=images[0, :, rows, columns], dtype=np.float32)
    padding = np.ones((1, size, size), dtype=bool)
    padding[0, rows, columns] = False
    return Letterboxed(images=images, padding=padding, height=height, width=width, rows=rows, columns=columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortSided:
    """An image whose shortest side was given, at the top left of its input.

    Attributes:
        images: (1, 3, h, w) float32 in [0, 1], zeros beside the image.
        padding: (1, h, w) bool, True outside the image.
        height: Rows of the image.
        width: Columns of the image.
        inner: Rows and columns of the input that it covers.
        direct: Whether maps come to the image's size in one step, not first to the input's.
        nearest: Whether the last step takes the nearest pixel.
    """

    images: np.ndarray
    padding: np.ndarray
    height: int
    width: int
    inner: tuple[int, int]
    direct: bool
    nearest: bool

    def restore(self, maps: np.ndarray) -> np.ndarray:
        """Returns a map (h', w') of the whole input as one of the image, (height, width)."""
        if not self.direct:
            rows, columns = self.padding.shape[1:]
            maps = bilinear(maps, height=rows, width=columns)[: self.inner[0], : self.inner[1]]
        return (nearest if self.nearest else bilinear)(maps, height=self.height, width=self.width)


def short_sided_image(pixels: np.ndarray, settings: Mapping[str, Any]) -> ShortSided:
    """Returns ReferFormer's input: resized bilinearly, as Pillow does, and padded on the right and below."""
    height, width = pixels.shape[:2]
    inner = shortest_numbers(height=height, width=width, short=settings["short"], longest=settings["longest"])
    resized = Image.fromarray(pixels).resize(inner[::-1], Image.Resampling.BILINEAR)
    multiple = settings["multiple"]
    rows, columns = (-(-side // multiple) * multiple for side in inner)
    images = np.zeros((1, 3, rows, columns), dtype=np.float32)
    images[0, :, : inner[0], : inner[1]] = np.asarray(resized, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)
    padding = np.ones((1, rows, columns), dtype=bool)
    padding[0, : inner[0], : inner[1]] = False
    return ShortSided(
        images=images,
        padding=padding,
        height=height,
        width=width,
        inner=inner,
        direct=multiple == 1 and not settings["nearest"],
        nearest=bool(settings["nearest"]),
    )


Laid = Letterboxed | ShortSided
"""An image in its input."""

IMAGES: Mapping[str, Callable[[np.ndarray, Mapping[str, Any]], Laid]] = {
    "MiniPreprocess": mini_image,
    "ShortSidePreprocess": short_sided_image,
}
"""How images become inputs, by the name in `model.json`."""
