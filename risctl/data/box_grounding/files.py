"""Reads and writes box-grounding samples as JSON Lines, one image per line.

    {"aspect": 1.333, "boxes": [[x1, y1, x2, y2], …], "kinds": [0, 56, …],
     "phrases": [{"text": "man on left", "targets": [0], "colours": []}, …]}

Corners are fractions of the image's sides; "kinds" are indices of COCO's 80 classes in their order (-1: unknown);
"targets" are indices of boxes; "colours" are those that the expression names of its targets (null: it names colours of
other objects).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.box_grounding.samples import UNKNOWN, BoxGroundingSample, ImageBoxes
from risctl.errors import DataError
from risctl.files import replacing
from risctl.json_text import parse_json


def write_box_grounding(
    path: Path, samples: Iterable[BoxGroundingSample], *, layouts: Iterable[ImageBoxes] = ()
) -> int:
    """Writes samples to `path`, completely or not at all.

    Args:
        path: The file; its folder is created.
        samples: Samples that share one `ImageBoxes` object are written to one line.
        layouts: Boxes of images without expressions, about which they can be generated.

    Returns:
        The number of images.
    """
    images: dict[int, tuple[ImageBoxes, list[BoxGroundingSample]]] = {}
    for sample in samples:
        images.setdefault(id(sample.boxes), (sample.boxes, []))[1].append(sample)
    images.update((id(boxes), (boxes, [])) for boxes in layouts if id(boxes) not in images)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for boxes, of_image in images.values():
            phrases = [
                {
                    "text": sample.text,
                    "targets": [int(target) for target in sample.targets],
                    "colours": None if sample.colours is None else list(sample.colours),
                }
                for sample in of_image
            ]
            row = {
                "aspect": round(boxes.aspect, 6),
                "boxes": [[round(float(value), 5) for value in corners] for corners in boxes.corners],
                "kinds": [int(category) for category in boxes.category_ids],
                "phrases": phrases,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(images)


def read_box_grounding(path: Path, *, classes: int) -> list[BoxGroundingSample]:
    """Reads the samples of a file.

    Args:
        path: The file.
        classes: The number of classes.

    Returns:
        The samples; those of one line share their `ImageBoxes`.

    Raises:
        DataError: The file cannot be read, or a line, which is named, is malformed.
    """
    return [sample for _, samples in _images_of(path, classes=classes) for sample in samples]


def read_layouts(path: Path, *, classes: int) -> list[ImageBoxes]:
    """Returns the boxes of every image of a file, of those without expressions too; errors as `read_box_grounding`."""
    return [boxes for boxes, _ in _images_of(path, classes=classes)]


def _images_of(path: Path, *, classes: int) -> Iterator[tuple[ImageBoxes, list[BoxGroundingSample]]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    try:
                        yield _image_of(parse_json(line), classes=classes)
                    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
                        raise DataError(
                            f"{path}, line {number}: expected the boxes and phrases of an image; {error!s:.120}"
                        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}; `risctl prepare box-phrases` writes such a file") from error


def _image_of(row: Any, *, classes: int) -> tuple[ImageBoxes, list[BoxGroundingSample]]:
    corners = np.array(row["boxes"], dtype=np.float32).reshape(-1, 4)
    category_ids = np.array(row["kinds"], dtype=np.int64).reshape(-1)
    aspect = float(row["aspect"])
    if len(category_ids) != len(corners):
        raise ValueError(f"{len(corners)} boxes have {len(category_ids)} kinds")
    if not (np.isfinite(corners).all() and (corners >= 0).all() and (corners <= 1).all()):
        raise ValueError("corners are fractions of the image's sides, from 0 to 1")
    if ((category_ids < UNKNOWN) | (category_ids >= classes)).any():
        raise ValueError(f"kinds are -1 to {classes - 1}")
    if not 0 < aspect < 1e4:
        raise ValueError(f"no image has the aspect {aspect}")
    boxes = ImageBoxes(corners=corners, category_ids=category_ids, aspect=aspect)
    samples = []
    for phrase in row["phrases"]:
        targets = tuple(int(target) for target in phrase["targets"])
        if any(not 0 <= target < len(boxes) for target in targets):
            raise ValueError(f"targets {list(targets)} of {len(boxes)} boxes")
        text, colours = phrase["text"], phrase.get("colours", [])
        if not isinstance(text, str):
            raise ValueError("a text is a string")
        samples.append(
            BoxGroundingSample(
                boxes=boxes,
                text=text,
                targets=targets,
                colours=None if colours is None else tuple(str(colour) for colour in colours),
            )
        )
    return boxes, samples
