"""Resizes an image to a network's input in the ways of the published systems, and maps predictions back.

Every class is a `Geometry`: it keeps the numbers of one image, so that the inverse uses exactly those of the forward
direction. Masks are compared at the image's original size.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeGeometry:
    """Where a resized image lies in the network's input. All numbers are pixels.

    Attributes:
        height: Height of the original image.
        width: Width of the original image.
        inner_height: Height of the resized image.
        inner_width: Width of the resized image.
        input_height: Height of the input, padding included.
        input_width: Width of the input, padding included.
        top: Rows of padding above the resized image.
        left: Columns of padding left of the resized image.
    """

    height: int
    width: int
    inner_height: int
    inner_width: int
    input_height: int
    input_width: int
    top: int = 0
    left: int = 0

    @property
    def rows(self) -> slice:
        """Rows of the input that the image covers."""
        return slice(self.top, self.top + self.inner_height)

    @property
    def columns(self) -> slice:
        """Columns of the input that the image covers."""
        return slice(self.left, self.left + self.inner_width)

    def padding(self) -> Tensor:
        """Returns the padding mask, bool (input_height, input_width), True where there is no image."""
        padding = torch.ones((self.input_height, self.input_width), dtype=torch.bool)
        padding[self.rows, self.columns] = False
        return padding

    def invert(self, maps: Tensor) -> Tensor:
        """Maps predictions back to the original image, bilinearly to the input's size, then to the image's.

        Args:
            maps: Maps of the whole input at any resolution, (N, h, w).

        Returns:
            The maps of the original image, (N, height, width).
        """
        size = (self.input_height, self.input_width)
        full = functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)
        inner = full[..., self.rows, self.columns]
        return functional.interpolate(inner, size=(self.height, self.width), mode="bilinear", align_corners=False)[:, 0]


class Letterbox(ResizeGeometry):
    """An image resized to fit a square and centred in it, as Darknet does.

    The resized sides are truncated, not rounded: `int(width * min(size / width, size / height))` can be 415 where one
    expects 416.
    """

    __slots__ = ()

    @classmethod
    def fit(cls, *, height: int, width: int, size: int) -> Letterbox:
        """Returns the letterbox of an image of `height` x `width` in a square of side `size`."""
        scale = min(size / width, size / height)
        # An image of 1 x 5000 would otherwise have no rows left.
        inner_width, inner_height = max(1, int(width * scale)), max(1, int(height * scale))
        return cls(
            height=height,
            width=width,
            inner_height=inner_height,
            inner_width=inner_width,
            input_height=size,
            input_width=size,
            top=(size - inner_height) // 2,
            left=(size - inner_width) // 2,
        )

    def image(self, image: np.ndarray, *, fill: float) -> Tensor:
        """Resizes an image, with OpenCV's INTER_CUBIC on uint8 as the Darknet-based codebases do.

        That is bicubic without antialiasing, rounded back to 8 bits before it is scaled to [0, 1].

        Args:
            image: RGB pixels, uint8 (height, width, 3).
            fill: Value of the padding, in [0, 1].

        Returns:
            The input, float32 (3, size, size) in [0, 1].
        """
        square = torch.full((3, self.input_height, self.input_width), fill)
        # One channel at a time: all of a 100-megapixel photograph as floats would take gigabytes.
        for channel in range(3):
            pixels = torch.from_numpy(np.ascontiguousarray(image[..., channel]))[None, None].float()
            inner = self._bicubic(pixels).round_().clamp_(0, 255).div_(255)
            square[channel, self.rows, self.columns] = inner[0, 0]
        return square

    def mask(self, mask: np.ndarray, *, size: int) -> Tensor:
        """Resizes a mask, bool (height, width), to a soft target (size, size) in [0, 1]: bicubic, then nearest."""
        pixels = torch.from_numpy(mask.astype(np.float32))[None, None]
        square = torch.zeros((1, 1, self.input_height, self.input_width))
        square[..., self.rows, self.columns] = self._bicubic(pixels).clamp_(0, 1)
        return functional.interpolate(square, size=(size, size), mode="nearest")[0, 0]

    def _bicubic(self, pixels: Tensor) -> Tensor:
        size = (self.inner_height, self.inner_width)
        return functional.interpolate(pixels, size=size, mode="bicubic", align_corners=False, antialias=False)


class ResizeLongest(ResizeGeometry):
    """An image resized to a longest side, at the top left of an input whose sides are multiples of a stride."""

    __slots__ = ()

    @classmethod
    def fit(cls, *, height: int, width: int, longest: int, multiple: int) -> ResizeLongest:
        """Returns the geometry of an image whose longest side becomes `longest`, padded to a multiple of `multiple`."""
        scale = longest / max(height, width)
        inner_height, inner_width = max(1, round(height * scale)), max(1, round(width * scale))
        return cls(
            height=height,
            width=width,
            inner_height=inner_height,
            inner_width=inner_width,
            input_height=-(-inner_height // multiple) * multiple,
            input_width=-(-inner_width // multiple) * multiple,
        )

    def image(self, image: np.ndarray) -> Tensor:
        """Resizes an image bilinearly with antialiasing, which keeps thin objects when it is scaled down.

        Args:
            image: RGB pixels, uint8 (height, width, 3).

        Returns:
            The input, float32 (3, input_height, input_width) in [0, 1], padded with zeros.
        """
        padded = torch.zeros((3, self.input_height, self.input_width))
        # One channel at a time: all of a 100-megapixel photograph as floats would take gigabytes.
        for channel in range(3):
            pixels = torch.from_numpy(np.ascontiguousarray(image[..., channel]))[None, None].float()
            padded[channel, self.rows, self.columns] = self._bilinear(pixels)[0, 0].div_(255)
        return padded

    def mask(self, mask: np.ndarray) -> Tensor:
        """Resizes a mask, bool (height, width), to a soft target (input_height, input_width) in [0, 1]."""
        padded = torch.zeros((self.input_height, self.input_width))
        pixels = torch.from_numpy(mask.astype(np.float32))[None, None]
        padded[self.rows, self.columns] = self._bilinear(pixels)[0, 0]
        return padded

    def _bilinear(self, pixels: Tensor) -> Tensor:
        size = (self.inner_height, self.inner_width)
        return functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)


class ResizeShortest(ResizeGeometry):
    """An image resized to a shortest side, without padding, as the DETR family does."""

    __slots__ = ()

    @classmethod
    def fit(cls, *, height: int, width: int, short: int, longest: int | None = None) -> ResizeShortest:
        """Returns the geometry of an image whose shortest side becomes `short`.

        It becomes less than `short` if the other side would exceed `longest`.
        """
        small, large = min(height, width), max(height, width)
        if longest is not None and large / small * short > longest:
            short = max(1, round(longest * small / large))
        other = max(1, int(short * large / small))
        inner_height, inner_width = (short, other) if height <= width else (other, short)
        return cls(
            height=height,
            width=width,
            inner_height=inner_height,
            inner_width=inner_width,
            input_height=inner_height,
            input_width=inner_width,
        )

    def image(self, image: np.ndarray) -> Tensor:
        """Resizes an image, uint8 (height, width, 3), as PIL's BILINEAR does, to (3, input_height, input_width)."""
        size = (self.inner_width, self.inner_height)
        pixels = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div_(255)

    def mask(self, mask: np.ndarray) -> Tensor:
        """Resizes a mask, bool (height, width), to a target (input_height, input_width) of 0 and 1, nearest."""
        pixels = torch.from_numpy(mask.astype(np.float32))[None, None]
        return functional.interpolate(pixels, size=(self.inner_height, self.inner_width), mode="nearest")[0, 0]

    def invert(self, maps: Tensor) -> Tensor:
        """Maps predictions (N, h, w) back to the original image, (N, height, width), bilinearly in one step."""
        size = (self.height, self.width)
        return functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddedShortest(ResizeShortest):
    """An image resized to a shortest side, at the top left of an input whose sides are multiples of a number.

    Predictions come back in two steps: bilinearly to the input's size, then to the image's.

    Attributes:
        nearest: Whether the second step takes the nearest pixel, as the published code of ReferFormer does for RefCOCO
            and A2D-Sentences; a threshold may then come before or after it. Otherwise it is bilinear too.
    """

    nearest: bool = False

    @classmethod
    def padded(cls, geometry: ResizeShortest, *, multiple: int, nearest: bool) -> PaddedShortest:
        """Returns `geometry` with padding on the right and below up to multiples of `multiple`."""
        padded = [-(-side // multiple) * multiple for side in (geometry.inner_height, geometry.inner_width)]
        numbers = _numbers(geometry) | {"input_height": padded[0], "input_width": padded[1]}
        return cls(**numbers, nearest=nearest)

    def image(self, image: np.ndarray) -> Tensor:
        """Resizes an image, uint8 (height, width, 3), to (3, input_height, input_width), padded with zeros."""
        padded = torch.zeros((3, self.input_height, self.input_width))
        padded[:, self.rows, self.columns] = ResizeShortest.image(self, image)
        return padded

    def mask(self, mask: np.ndarray) -> Tensor:
        """Resizes a mask, bool (height, width), to a target (input_height, input_width) of 0 and 1, nearest."""
        padded = torch.zeros((self.input_height, self.input_width))
        padded[self.rows, self.columns] = ResizeShortest.mask(self, mask)
        return padded

    def invert(self, maps: Tensor) -> Tensor:
        """Maps predictions (N, h, w) of the whole input back to the original image, (N, height, width)."""
        if not self.nearest:
            return ResizeGeometry.invert(self, maps)
        size = (self.input_height, self.input_width)
        full = functional.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)
        inner = full[..., self.rows, self.columns]
        return functional.interpolate(inner, size=(self.height, self.width), mode="nearest")[:, 0]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRegion:
    """A part of an image that was drawn on a resized copy of it: there its sides are whole pixels.

    Attributes:
        top: Where it begins, in pixels of the image.
        left: Likewise.
        bottom: Where it ends, in pixels of the image.
        right: Likewise.
        height: Its height in pixels of the resized copy.
        width: Its width in pixels of the resized copy.
    """

    top: float
    left: float
    bottom: float
    right: float
    height: int
    width: int

    @classmethod
    def of_resized(cls, resized: ResizeShortest, *, rows: slice, columns: slice) -> ImageRegion:
        """Returns the part of the image that `rows` and `columns` of its resized copy show."""
        down, across = resized.height / resized.inner_height, resized.width / resized.inner_width
        return cls(
            top=rows.start * down,
            left=columns.start * across,
            bottom=rows.stop * down,
            right=columns.stop * across,
            height=rows.stop - rows.start,
            width=columns.stop - columns.start,
        )

    def pixels(self) -> tuple[slice, slice]:
        """Returns the rows and columns of the image that it covers, to whole pixels, one at least."""
        top, left = int(self.top), int(self.left)
        return slice(top, max(top + 1, round(self.bottom))), slice(left, max(left + 1, round(self.right)))

    def box(self, box: np.ndarray) -> np.ndarray:
        """Returns boxes (..., 4), xyxy in pixels of the image, cut to the part, as fractions of it."""
        start = np.array([self.left, self.top] * 2)
        extent = np.array([self.right - self.left, self.bottom - self.top] * 2)
        return ((box - start) / extent).clip(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizedRegion(ResizeShortest):
    """A part of an image resized to a shortest side, without padding; `height` and `width` are those of the part.

    It is for training: masks of the input go back to the part, not to the image.

    Attributes:
        region: The part.
    """

    region: ImageRegion

    @classmethod
    def of(cls, region: ImageRegion, *, short: int, longest: int | None) -> ResizedRegion:
        """Returns the geometry of a part whose shortest side becomes `short`, or less; see `ResizeShortest.fit`."""
        sized = ResizeShortest.fit(height=region.height, width=region.width, short=short, longest=longest)
        return cls(**_numbers(sized), region=region)

    def image(self, image: np.ndarray) -> Tensor:
        """Resizes the part of an image, uint8 (H, W, 3), as PIL's BILINEAR does."""
        region = self.region
        box = (region.left, region.top, min(region.right, image.shape[1]), min(region.bottom, image.shape[0]))
        size = (self.inner_width, self.inner_height)
        pixels = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=box))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div_(255)

    def mask(self, mask: np.ndarray) -> Tensor:
        """Resizes the part of a mask, bool (H, W), to (input_height, input_width) of 0 and 1, nearest."""
        region = self.region
        rows = _nearest(region.top, region.bottom, count=self.inner_height, length=mask.shape[0])
        columns = _nearest(region.left, region.right, count=self.inner_width, length=mask.shape[1])
        return torch.from_numpy(mask[rows][:, columns].astype(np.float32))


def _numbers(geometry: ResizeGeometry) -> dict[str, int]:
    return {field.name: getattr(geometry, field.name) for field in fields(ResizeGeometry)}


def _nearest(start: float, stop: float, *, count: int, length: int) -> np.ndarray:
    places = np.floor(start + np.arange(count) * ((stop - start) / count)).astype(np.int64)
    return places.clip(0, length - 1)
