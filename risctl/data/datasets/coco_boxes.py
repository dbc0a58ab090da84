"""Reads the boxes of COCO's pictures from one compact file, as layouts about which expressions are generated."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from risctl.data.box_grounding.samples import ImageBoxes
from risctl.errors import DataError
from risctl.language.coco_classes import CLASSES
from risctl.weights.npz import read_npz

_MIN_BOXES, _MAX_BOXES = 2, 60
# The file has shares of the sides, not the sides: most of COCO's pictures are 4:3, one in four is upright.
_ASPECTS, _ASPECT_SHARES = (4 / 3, 3 / 4, 1.5, 1.0), (0.65, 0.2, 0.1, 0.05)


def read_coco_boxes(
    path: Path, *, exclude: Collection[int] = (), limit: int | None = None, seed: int = 0
) -> list[ImageBoxes]:
    """Returns the boxes of pictures that have 2 to 60 of them; the pictures' aspects are drawn.

    Args:
        path: An `.npz` file with `image_id` (sorted), `cls80` (class indices) and `cxcywh` (shares of the sides).
        exclude: Ids of pictures that are left out.
        limit: How many pictures at most, drawn at random; None: all.
        seed: Seed of what is drawn.

    Raises:
        DataError: The file has other arrays.
        CheckpointError: The file cannot be read.
    """
    arrays = read_npz(path, what="boxes of COCO's pictures")
    try:
        ids, kinds = arrays["image_id"].astype(np.int64), arrays["cls80"].astype(np.int64)
        boxes = arrays["cxcywh"].astype(np.float32)
    except KeyError as error:
        raise DataError(f"{path}: expected the arrays image_id, cls80 and cxcywh, found no {error}") from None
    fits = ids.shape == kinds.shape == boxes.shape[:1] and boxes.shape[1:] == (4,) and (np.diff(ids) >= 0).all()
    if not fits or (len(kinds) and not 0 <= kinds.min() <= kinds.max() < len(CLASSES)):
        raise DataError(
            f"{path}: image_id (sorted), cls80 (below {len(CLASSES)}) and cxcywh (N, 4) do not fit together"
        )
    corners = np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1).clip(0, 1)
    first = np.flatnonzero(np.diff(ids, prepend=-1))
    counts = np.diff(np.append(first, len(ids)))
    usable = (counts >= _MIN_BOXES) & (counts <= _MAX_BOXES) & ~np.isin(ids[first], list(exclude))
    generator = np.random.default_rng(seed)
    chosen = generator.permutation(np.flatnonzero(usable))[:limit]
    aspects = generator.choice(_ASPECTS, len(chosen), p=_ASPECT_SHARES)
    return [
        ImageBoxes(
            corners=corners[first[index] : first[index] + counts[index]],
            category_ids=kinds[first[index] : first[index] + counts[index]],
            aspect=float(aspect),
        )
        for index, aspect in zip(chosen, aspects, strict=True)
    ]
