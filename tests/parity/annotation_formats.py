"""Parity of annotation formats: one mask in the encoding of each."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from comparison import Row
from helpers.brush import decoded_brush
from PIL import Image

from risctl.data.formats.annotated import AnnotatedMask, crop_box
from risctl.data.formats.cvat import row_runs
from risctl.data.formats.label_studio import brush
from risctl.data.formats.labelme import shape
from risctl.vision import rle


def rows(case: dict[str, Any], arrays: Mapping[str, np.ndarray], folder: Path) -> Iterator[Row]:
    """Yield (output, 0 if it is equal, else 1, tolerance 0) for every encoding of every mask of `case`."""
    del arrays, folder
    for name, stated in case["masks"].items():
        mask = np.array([[sign == "#" for sign in row] for row in stated["rows"]])
        encoded = rle.encode(mask)
        left, top, width, height = crop_box(mask)
        labelme = shape(AnnotatedMask(mask=encoded, phrases=("a",)))
        found = {
            "area": rle.area(encoded),
            "bbox_xywh": list(rle.box(encoded)),
            "coco_uncompressed": rle.runs(encoded).tolist(),
            "coco_compressed": encoded["counts"],
            "cvat": {
                "left": left,
                "top": top,
                "width": width,
                "height": height,
                "rle": ", ".join(map(str, row_runs(mask[top : top + height, left : left + width]))),
            },
            "labelme.points": labelme["points"],
            "labelme.mask": _png(labelme["mask"]),
            "label_studio_rle": decoded_brush(brush(mask)),
        }
        wanted = {
            **stated,
            "labelme.points": stated["labelme"]["points"],
            "labelme.mask": _png(stated["labelme"]["mask_png_base64"]),
            "label_studio_rle": decoded_brush(stated["label_studio_rle"]),
        }
        for encoding, value in found.items():
            yield f"{name}.{encoding}", float(value != wanted[encoding]), 0.0


def _png(text: str) -> list[list[bool]]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(bool).tolist()
