"""Filters proposals by score, area, overlap and number, and by matrix NMS (SOLOv2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from risctl.errors import UsageError
from risctl.zeroshot.proposals.base import InputImage, Proposals, ProposalSource


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalFilter:
    """Which proposals are kept.

    Attributes:
        min_score: The least score.
        min_area: The least area, as a fraction of the image.
        max_area: The largest area, as a fraction of the image.
        max_overlap: A proposal is dropped if its IoU with a better one is this or more; 1 drops exact duplicates only.
        max_count: How many are kept.
        sigma: Of the gaussian matrix NMS; None leaves matrix NMS out.
        nms_count: How many of the best enter the NMS.
        min_decayed_score: The least score after matrix NMS.
    """

    min_score: float = 0.0
    min_area: float = 0.0
    max_area: float = 1.0
    max_overlap: float = 1.0
    max_count: int = 100
    sigma: float | None = None
    nms_count: int = 500
    min_decayed_score: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.min_area <= self.max_area <= 1:
            raise UsageError(
                f"expected areas as 0 <= SMALLEST <= LARGEST <= 1, got {self.min_area} and {self.max_area}"
            )
        if not 0 <= self.max_overlap <= 1:
            raise UsageError(f"expected an overlap between 0 and 1, got {self.max_overlap}")
        if self.max_count < 1:
            raise UsageError(f"expected at least one proposal to keep, got {self.max_count}")
        if math.isnan(self.min_score):
            raise UsageError("expected a number as the least score (--min-score), got nan")


PUBLISHED = ProposalFilter(min_score=0.1, sigma=2.0, nms_count=500, min_decayed_score=0.05, max_count=100)
"""FreeSOLO's settings, with which Global-Local CLIP was published."""


def filter_proposals(proposals: Proposals, criteria: ProposalFilter) -> Proposals:
    """Returns the proposals that meet `criteria`, best first; empty masks never do."""
    area = proposals.masks.reshape(len(proposals), -1).mean(axis=1) if len(proposals) else np.zeros(0)
    kept = np.flatnonzero(
        (area > 0)
        & (area >= criteria.min_area)
        & (area <= criteria.max_area)
        & (proposals.scores >= criteria.min_score)
    )
    kept = kept[np.argsort(-proposals.scores[kept], kind="stable")][: max(criteria.nms_count, criteria.max_count)]
    best = proposals.subset(kept)
    if criteria.sigma is not None and len(best):
        best = matrix_nms(best, sigma=criteria.sigma, min_decayed_score=criteria.min_decayed_score)
    if len(best):
        distinct = _without_overlaps(pairwise_ious(best.masks), criteria.max_overlap)
        best = best.subset(np.array(distinct, dtype=np.int64))
    return best.subset(np.arange(min(len(best), criteria.max_count)))


def matrix_nms(proposals: Proposals, *, sigma: float, min_decayed_score: float) -> Proposals:
    """Decays the scores of proposals that overlap better ones of the same category (SOLOv2).

    A score is multiplied by exp(-sigma iou^2) / exp(-sigma worst^2), the least over all better proposals, where `iou`
    is the overlap with the better one and `worst` the largest overlap of that one with those better than itself.

    Args:
        proposals: N proposals, best first.
        sigma: Of the gaussian.
        min_decayed_score: The least decayed score that is kept.

    Returns:
        The proposals that are kept, with their decayed scores, best first.
    """
    overlaps = np.triu(pairwise_ious(proposals.masks), k=1)
    overlaps *= proposals.categories[:, None] == proposals.categories[None, :]
    worst = overlaps.max(axis=0, initial=0.0)
    decay = np.exp(-sigma * (overlaps**2 - worst[:, None] ** 2))
    scores = (proposals.scores * decay.min(axis=0, initial=1.0)).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= min_decayed_score]
    return Proposals(masks=proposals.masks[order], scores=scores[order], categories=proposals.categories[order])


def pairwise_ious(masks: np.ndarray) -> np.ndarray:
    """Returns the IoU (N, N) of every two of masks (N, H, W); 0 with an empty mask."""
    if not len(masks):
        return np.zeros((0, 0))
    encoded = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    return np.asarray(coco_mask.iou(encoded, encoded, [0] * len(encoded)), dtype=np.float64)


def _without_overlaps(overlaps: np.ndarray, bound: float) -> list[int]:
    """Returns the positions of proposals, best first, whose IoU with every better kept one is below `bound`."""
    kept: list[int] = []
    for index in range(len(overlaps)):
        if not kept or overlaps[index, kept].max() < bound:
            kept.append(index)
    return kept


class FilteredSource:
    """A source whose proposals are filtered."""

    def __init__(self, source: ProposalSource, criteria: ProposalFilter) -> None:
        self._source, self._criteria = source, criteria

    @property
    def name(self) -> str:
        """How reports name it."""
        return self._source.name

    def __call__(self, image: InputImage) -> Proposals:
        """Returns the source's proposals that are kept."""
        return filter_proposals(self._source(image), self._criteria)
