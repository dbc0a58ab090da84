"""What a model finds by class name, as proposals: all classes of its split, unseen ones too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from risctl.language.coco_classes import CLASSES
from risctl.vision.rle import RLE
from risctl.zeroshot.proposals.base import Picture, Proposals, from_rles
from risctl.zeroshot.proposals.filters import Filters, filtered

_IDS = {name: number for number, name in CLASSES.items()}
_SAME = 0.8
"""The overlap from which two things are one: a region is often found as several classes that are alike."""


class Detection(Protocol):
    """A thing found: the name it was asked by, a score in [0, 1], its mask."""

    @property
    def name(self) -> str:
        """The class."""

    @property
    def score(self) -> float:
        """How sure it is."""

    @property
    def segmentation(self) -> RLE:
        """Its pixels."""


class NameFinder(Protocol):
    """Finds the things of classes by name in the picture that it was given last."""

    def set_image(self, image: np.ndarray) -> None:
        """Look at a picture (H, W, 3) uint8."""

    def find(self, names: Sequence[str], *, score: float) -> Sequence[Detection]:
        """Return things of the classes `names` whose score is above `score`, best first."""

    def forget(self) -> None:
        """Let go of the picture."""


class FoundByName:
    """Proposes what is found of classes, with COCO's category ids, best first.

    parts: names of classes; each part is asked for alone, so that the seen classes, which score higher, do not displace
    the unseen. Of things that overlap nearly wholly the best stays, whatever it was found as.
    """

    def __init__(
        self,
        finder: NameFinder,
        parts: Sequence[Sequence[str]],
        *,
        name: str,
        score: float = 0.05,
        most: int = 100,
    ) -> None:
        self.name = name
        self._finder, self._parts = finder, parts
        self._score, self._filters = score, Filters(overlap=_SAME, most=most)

    def __call__(self, picture: Picture) -> Proposals:
        """Return what is found in a picture; masks without a pixel are left out."""
        self._finder.set_image(picture.pixels)
        found = [one for names in self._parts for one in self._finder.find(names, score=self._score)]
        self._finder.forget()
        proposals = from_rles(
            [one.segmentation for one in found],
            scores=np.array([one.score for one in found], dtype=np.float32),
            categories=np.array([_IDS.get(one.name, 0) for one in found], dtype=np.int64),
            picture=picture,
        )
        return filtered(proposals, self._filters)
