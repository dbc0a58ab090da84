"""Writes labelme's JSON: one file an image, its masks as crops (`shape_type: "mask"`, read from labelme 5.4 on)."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from risctl.data.formats.annotated import AnnotatedImage, AnnotatedMask, crop_box, decoded
from risctl.data.formats.json_file import write_json
from risctl.output_files import OutputFiles
from risctl.vision import rle

VERSION = "5.4.0"


def write_labelme(images: Iterable[AnnotatedImage], folder: Path, outputs: OutputFiles) -> list[Path]:
    """Writes `NAME.json` an image; the phrase is the description of its shape, several are lines of it.

    Images are expected where `images/` beside the folder has them.
    """
    written = []
    for image in images:
        path = folder / PurePosixPath(image.file_name).with_suffix(".json")
        data: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": [shape(one) for one in image.masks if rle.area(one.mask)],
            "imagePath": "/".join([".."] * len(PurePosixPath(image.file_name).parts) + ["images", image.file_name]),
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, data, outputs)
        written.append(path)
    return written


def shape(one: AnnotatedMask) -> dict[str, Any]:
    """Returns the shape of a mask that is not empty: first and last pixel, inclusive, and the crop as a 1-bit PNG."""
    mask = decoded(one)
    left, top, width, height = crop_box(mask)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(mask[top : top + height, left : left + width])).save(stream, "PNG")
    return {
        "label": one.category,
        "points": [[left, top], [left + width - 1, top + height - 1]],
        "group_id": None,
        "description": "\n".join(one.phrases),
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(stream.getvalue()).decode("ascii"),
    }
