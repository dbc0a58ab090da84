"""Proposes what a detector finds by category name: risctl's own model, or a ZSI checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Protocol

import numpy as np

from risctl.errors import UsageError
from risctl.inference.predictor import Predictor
from risctl.language.coco_classes import CLASSES
from risctl.results import Detection
from risctl.systems.protocols import ZeroShotDetector
from risctl.zeroshot.proposals.base import InputImage, Proposals, SourceOptions, from_rles
from risctl.zeroshot.proposals.filters import ProposalFilter, filter_proposals

_CATEGORY_IDS = {name: number for number, name in CLASSES.items()}
# From this IoU on, two detections are one object: a region is often detected as several similar categories.
_SAME_OBJECT = 0.8


class NamedDetector(Protocol):
    """Detects objects by category name in the image that it was given last; a `Predictor` does."""

    def set_image(self, image: np.ndarray) -> None:
        """Encodes an RGB image, uint8 (H, W, 3)."""

    def detect(self, names: Sequence[str], *, min_score: float) -> Sequence[Detection]:
        """Returns the detections of the categories `names` whose score is above `score`, best first."""

    def reset_image(self) -> None:
        """Releases the image."""


class DetectorProposals:
    """Proposes the detections of named categories, with COCO's category ids, best first."""

    def __init__(
        self,
        detector: NamedDetector,
        groups: Sequence[Sequence[str]],
        *,
        name: str,
        min_score: float = 0.05,
        max_overlap: float = _SAME_OBJECT,
        max_count: int = 100,
    ) -> None:
        """Builds the source.

        Args:
            detector: What detects.
            groups: Category names; each group is detected alone, so that seen categories, whose scores are higher, do
                not displace unseen ones.
            name: How reports name the source.
            min_score: What the score of a detection must exceed.
            max_overlap: Of detections whose IoU is this or more, only the best is kept, whatever its category.
            max_count: How many proposals are kept.
        """
        self.name = name
        self._detector, self._groups, self._min_score = detector, groups, min_score
        self._filter = ProposalFilter(max_overlap=max_overlap, max_count=max_count)

    def __call__(self, image: InputImage) -> Proposals:
        """Returns the detections in `image`; empty masks are left out."""
        self._detector.set_image(image.pixels)
        detections = [one for names in self._groups for one in self._detector.detect(names, min_score=self._min_score)]
        self._detector.reset_image()
        proposals = from_rles(
            [detection.segmentation for detection in detections],
            scores=np.array([detection.score for detection in detections], dtype=np.float32),
            categories=np.array([_CATEGORY_IDS.get(detection.name, 0) for detection in detections], dtype=np.int64),
            image=image,
        )
        return filter_proposals(proposals, self._filter)


def build_embedded(options: SourceOptions) -> DetectorProposals:
    """Returns what risctl's own model detects of COCO's categories, without a download, on the CPU."""
    return DetectorProposals(
        shipped_predictor(),
        [list(CLASSES.values())],
        name="the embedded model's instances",
        min_score=0.0,
        max_overlap=1.0,
        max_count=options.max_count,
    )


def build_zsi(options: SourceOptions) -> DetectorProposals:
    """Returns what a ZSI checkpoint detects of the seen and the unseen categories of its split.

    Raises:
        UsageError: No checkpoint is named, or it holds another system.
        CheckpointError: There is no usable checkpoint.
    """
    if not options.location:
        raise UsageError("expected --proposals zsi:CHECKPOINT, a ZSI checkpoint or its run folder")
    predictor = Predictor.load(options.location, device=options.device.type)
    if not isinstance(predictor.system, ZeroShotDetector):
        raise UsageError(
            f"{options.location} holds no ZSI, which detects by category; use it with `risctl predict` instead"
        )
    split = predictor.system.class_split
    groups = (split.seen, split.unseen)
    return DetectorProposals(predictor, groups, name=f"ZSI {options.location}", max_count=options.max_count)


@cache
def shipped_predictor() -> Predictor:
    """Returns the predictor of the model that comes with risctl, on the CPU, opened once."""
    return Predictor.load(device="cpu")
