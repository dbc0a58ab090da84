"""Instances that the package finds by itself, without a download."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from risctl.language.coco_classes import CLASSES
from risctl.vision.rle import RLE, decode
from risctl.zeroshot.proposals.base import Picture, Proposals, none_for

Instance = tuple[RLE | np.ndarray, float, str, Sequence[float]]
"""A mask (RLE or bool (H, W)), a score in [0, 1], a class of COCO and the box x1 y1 x2 y2."""

_IDS = {name: number for number, name in CLASSES.items()}


class InstanceFinder(Protocol):
    """Finds instances in pictures."""

    def __call__(self, image: np.ndarray, most: int) -> Sequence[Instance]:
        """Return at most `most` instances of a picture (H, W, 3) uint8."""


class Embedded:
    """Proposes the instances of the embedded model, with COCO's category ids."""

    name = "the embedded model's instances"

    def __init__(self, find: InstanceFinder, *, most: int = 100) -> None:
        self._find, self._most = find, most

    def __call__(self, picture: Picture) -> Proposals:
        """Return the instances, best first; those without a pixel are left out."""
        found = []
        for mask, score, name, _ in self._find(picture.pixels, self._most):
            pixels = np.asarray(mask, dtype=bool) if isinstance(mask, np.ndarray) else decode(mask)
            if pixels.any():
                found.append((pixels, score, _IDS.get(name, 0)))
        if not found:
            return none_for(picture)
        found.sort(key=lambda one: -one[1])
        masks, scores, categories = zip(*found, strict=True)
        return Proposals(
            masks=np.ascontiguousarray(np.stack(masks)),
            scores=np.array(scores, dtype=np.float32),
            categories=np.array(categories, dtype=np.int64),
        )
