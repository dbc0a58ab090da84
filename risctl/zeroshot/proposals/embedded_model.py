"""The shipped model's instances of a picture, whatever they are: proposals that need no download."""

from __future__ import annotations

from functools import cache

import numpy as np

from risctl.checkpoints.checkpoint import SHIPPED
from risctl.inference.predictor import Predictor
from risctl.language.coco_classes import CLASSES
from risctl.vision.rle import RLE

Instance = tuple[RLE, float, str, tuple[float, float, float, float]]


def is_shipped() -> bool:
    """Say whether this copy of the package has its model."""
    return SHIPPED.is_file()


def instances(image: np.ndarray, most: int) -> list[Instance]:
    """Return at most `most` instances of a uint8 picture (H, W, 3), best first, as (mask, score, class, box).

    The mask is COCO's RLE, the score in [0, 1], the class one of COCO's 80, the box x1, y1, x2, y2 in pixels. Computed
    on the CPU. Raises `CheckpointError` if this copy of the package lacks its model.
    """
    predictor = _predictor()
    predictor.set_image(image)
    found = predictor.find(list(CLASSES.values()), score=0.0)[:most]
    predictor.forget()
    return [
        (one.segmentation, one.score, one.name, (left, top, left + width, top + height))
        for one in found
        for left, top, width, height in [one.box]
    ]


@cache
def _predictor() -> Predictor:
    return Predictor.load(device="cpu")
