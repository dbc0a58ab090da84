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

from risctl.vision.letterbox_numbers import letterbox_numbers
from risctl.vision.shortest_numbers import shortest_numbers


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
        numbers = letterbox_numbers(height=height, width=width, size=size)
        return cls(height=height, width=width, input_height=size, input_width=size, **numbers)

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
        inner_height, inner_width = shortest_numbers(height=height, width=width, short=short, longest=longest)
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


class Square(ResizeGeometry):
    """An image resized to a square, its aspect ratio not kept, as LAVT and ReLA do."""

    __slots__ = ()

    @classmethod
    def fit(cls, *, height: int, width: int, size: int) -> Square:
        """Returns the geometry of an image of `height` x `width` in a square of side `size`."""
        sides = {"inner_height": size, "inner_width": size, "input_height": size, "input_width": size}
        return cls(height=height, width=width, **sides)

    def image(self, image: np.ndarray) -> Tensor:
        """Resizes an image, uint8 (height, width, 3), as PIL's BILINEAR does, to (3, size, size) in [0, 1]."""
        pixels = np.asarray(Image.fromarray(image).resize(self._size, Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().div_(255)

    def mask(self, mask: np.ndarray) -> Tensor:
        """Resizes a mask, bool (height, width), as PIL's NEAREST does, to a target (size, size) of 0 and 1."""
        pixels = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize(self._size, Image.Resampling.NEAREST))
        return torch.from_numpy(pixels.astype(np.float32))

    @property
    def _size(self) -> tuple[int, int]:
        return self.inner_width, self.inner_height


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
    """A part of an image, drawn on a resized copy of it.

    Attributes:
        image_height: Height of the image.
        image_width: Width of the image.
        resized_height: Height of the resized copy.
        resized_width: Width of the resized copy.
        rows: The rows of the copy that the part covers.
        columns: The columns of the copy that it covers.
    """

    image_height: int
    image_width: int
    resized_height: int
    resized_width: int
    rows: slice
    columns: slice

    @property
    def height(self) -> int:
        """Height of the part in pixels of the resized copy."""
        return int(self.rows.stop - self.rows.start)

    @property
    def width(self) -> int:
        """Width of the part in pixels of the resized copy."""
        return int(self.columns.stop - self.columns.start)

    def pixels(self) -> tuple[slice, slice]:
        """Returns the rows and columns of the image that it covers, to whole pixels, one at least."""
        found = []
        for side, length, resized in (
            (self.rows, self.image_height, self.resized_height),
            (self.columns, self.image_width, self.resized_width),
        ):
            start = side.start * length // resized
            found.append(slice(start, max(start + 1, round(side.stop * length / resized))))
        return found[0], found[1]

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Returns boxes (..., 4), xyxy in pixels of the image, cut to the part, as fractions of it."""
        scale = np.array([self.resized_width / self.image_width, self.resized_height / self.image_height] * 2)
        start = np.array([self.columns.start, self.rows.start] * 2)
        return ((boxes * scale - start) / np.array([self.width, self.height] * 2)).clip(0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResize(ResizeShortest):
    """An image, or a part of it, resized to a shortest side for training; `height` and `width` are those of the part.

    A part is resized twice, as it was drawn: the whole image first. Images are resized as PIL's BILINEAR does up to
    rounding, in a third of the time. Masks of the input go back to the part, not to the image.

    Attributes:
        region: The part, None for all of the image.
    """

    region: ImageRegion | None = None

    @classmethod
    def of(cls, geometry: ResizeShortest, *, region: ImageRegion | None) -> TrainingResize:
        """Returns `geometry`, that of the part `region` or of a whole image, for training."""
        return cls(**_numbers(geometry), region=region)

    def image(self, image: np.ndarray) -> Tensor:
        """Resizes an image, uint8 (H, W, 3), to uint8 (3, input_height, input_width)."""
        mirrored = image.strides[1] < 0  # a view, which torch does not take
        pixels = torch.from_numpy(image[:, ::-1] if mirrored else image).permute(2, 0, 1)[None]
        if mirrored and self.region is None:
            return _resized(pixels, self.inner_height, self.inner_width)[0].flip(-1)
        if self.region is not None:
            pixels = _resized(pixels, self.region.resized_height, self.region.resized_width)
            columns = self.region.columns
            if mirrored:
                width = self.region.resized_width
                columns = slice(width - columns.stop, width - columns.start)
            pixels = pixels[..., self.region.rows, columns]
            pixels = pixels.flip(-1) if mirrored else pixels
        return _resized(pixels, self.inner_height, self.inner_width)[0]

    def mask(self, mask: np.ndarray) -> Tensor:
        """Resizes a mask, bool (H, W), to a target, bool (input_height, input_width), nearest."""
        rows, columns = _nearest(self.inner_height, of=self.height), _nearest(self.inner_width, of=self.width)
        if self.region is not None:
            region = self.region
            rows = _nearest(region.resized_height, of=region.image_height)[region.rows][rows]
            columns = _nearest(region.resized_width, of=region.image_width)[region.columns][columns]
        # Masks lie in memory by columns, as run-length encodings do.
        return torch.from_numpy(mask.T[columns][:, rows].T)


def _resized(pixels: Tensor, height: int, width: int) -> Tensor:
    if pixels.shape[-2:] == (height, width):
        return pixels
    return functional.interpolate(pixels, size=(height, width), mode="bilinear", align_corners=False, antialias=True)


def _nearest(count: int, *, of: int) -> np.ndarray:
    """Returns which of `of` pixels each of `count` shows, as torch's `interpolate` picks them."""
    return (np.arange(count) * np.float32(of / count)).astype(np.int64).clip(max=of - 1)


def _numbers(geometry: ResizeGeometry) -> dict[str, int]:
    return {field.name: getattr(geometry, field.name) for field in fields(ResizeGeometry)}
