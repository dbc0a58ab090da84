"""The image and mask files that a custom dataset names: paths within its folder, checked once, kept upright."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from risctl.data.datasets.coco_instances import MAX_SIDE
from risctl.data.records import ImageRecord
from risctl.errors import DataError
from risctl.vision import rle
from risctl.vision.images import decode_stored, image_size, read_image


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomImage:
    """An image file.

    Attributes:
        path: The file.
        name: The name that the user's file gave it.
        height: Its height upright.
        width: Its width upright.
        turned: Whether the file is stored turned (EXIF).
    """

    path: Path
    name: str
    height: int
    width: int
    turned: bool


def path_within(folder: Path, name: Any) -> Path:
    """Returns the file `name` in `folder`. Raises `DataError` if it is no text or leads out of the folder."""
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise DataError(f"expected the path of a file, got {name!r:.60}")
    return _path_within(folder, name)


@lru_cache(maxsize=64)
def _path_within(folder: Path, name: str) -> Path:
    name = name.replace("\\", "/")
    plain = os.path.normpath(name)
    if plain.startswith(("/", "..")) or PureWindowsPath(name).drive:
        raise DataError(f"{name!r:.80} leads out of {folder}; give a path from there")
    return folder / plain


def inspect_image(path: Path, *, name: str) -> CustomImage:
    """Returns the image of the file `path`, decoded once to check that it is complete.

    Raises `DataError` naming the file if it is missing, no image, damaged or too large.
    """
    height, width = image_size(path)
    if max(height, width) > MAX_SIDE:
        raise DataError(f"{path} has {width}x{height} pixels; its sides may have {MAX_SIDE:,} at most")
    data = path.read_bytes()
    try:
        decode_stored(data)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    with Image.open(io.BytesIO(data)) as image:
        try:
            orientation = image.getexif().get(0x0112, 1)
        except Exception:  # a damaged EXIF block says nothing, as for viewers
            orientation = 1
    if orientation in (5, 6, 7, 8):
        height, width = width, height
    return CustomImage(path=path, name=name, height=height, width=width, turned=orientation in range(2, 9))


class UprightImages(Mapping[int, ImageRecord]):
    """Image records by id; an image that is stored turned is made upright on access."""

    def __init__(self, images: Mapping[int, CustomImage]) -> None:
        self._images = images
        self.names = {image_id: one.name for image_id, one in images.items()}

    def __getitem__(self, image_id: int) -> ImageRecord:
        one = self._images[image_id]
        return ImageRecord(
            image_id=image_id,
            file_name=one.name,
            height=one.height,
            width=one.width,
            path=None if one.turned else one.path.absolute(),
            data=_upright(one.path) if one.turned else None,
        )

    def __iter__(self) -> Iterator[int]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


def _upright(path: Path) -> bytes:
    """Returns the encoded image upright: a JPEG as a JPEG of high quality, anything else as PNG."""
    upright, buffer = Image.fromarray(read_image(path)), io.BytesIO()
    if path.suffix.lower() in (".jpg", ".jpeg"):
        upright.save(buffer, "JPEG", quality=95, subsampling=0)
    else:
        upright.save(buffer, "PNG")
    return buffer.getvalue()


def read_mask_file(path: Path, *, height: int, width: int) -> rle.RLE:
    """Returns the mask of a PNG: what is not 0 (of a palette: not its colour 0; of colours: not black).

    Raises `DataError` naming the file if it is missing, no PNG, damaged, partly transparent, or not of `height` x
    `width`.
    """
    found = image_size(path)
    if found != (height, width):
        raise DataError(
            f"the mask {path} has {found[1]}x{found[0]} pixels (width x height), its picture {width}x{height}"
        )
    try:
        with Image.open(path, formats=("PNG",)) as image:
            values = np.asarray(image)
            alpha = image.mode in ("LA", "RGBA")
    except Exception as error:  # decoders raise almost anything on damaged data
        raise DataError(f"the mask {path} is not a complete PNG ({error})") from error
    if alpha:
        # Either could be meant: what is opaque, or what is bright.
        if values[..., -1].min() < 255:
            raise DataError(f"the mask {path} is transparent in places; save it as plain black and white")
        values = values[..., :-1]
    return rle.encode(np.asarray(values.reshape(height, width, -1).any(axis=2)))
