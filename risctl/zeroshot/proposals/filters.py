"""Which proposals are kept: by score, area, overlap and number; and matrix NMS (SOLOv2, section 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from risctl.errors import UsageError
from risctl.zeroshot.proposals.base import Picture, Proposals, ProposalSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What is kept. Areas are shares of the picture; an overlap of 1 keeps all but exact repetitions.

    sigma: of the gaussian matrix NMS, None to leave it out. `PUBLISHED` has FreeSOLO's settings in Global-Local CLIP.
    """

    score: float = 0.0
    smallest: float = 0.0
    largest: float = 1.0
    overlap: float = 1.0
    most: int = 100
    sigma: float | None = None
    before: int = 500
    updated_score: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.smallest <= self.largest <= 1:
            raise UsageError(f"expected areas as 0 <= SMALLEST <= LARGEST <= 1, got {self.smallest} and {self.largest}")
        if not 0 <= self.overlap <= 1:
            raise UsageError(f"expected an overlap between 0 and 1, got {self.overlap}")
        if self.most < 1:
            raise UsageError(f"expected at least one proposal to keep, got {self.most}")
        if math.isnan(self.score):
            raise UsageError("expected a number as the least score, got nan")


PUBLISHED = Filters(score=0.1, sigma=2.0, before=500, updated_score=0.05, most=100)


def filtered(proposals: Proposals, filters: Filters) -> Proposals:
    """Return the proposals that are kept, best first; empty masks never are."""
    area = proposals.masks.reshape(len(proposals), -1).mean(axis=1) if len(proposals) else np.zeros(0)
    kept = np.flatnonzero(
        (area > 0) & (area >= filters.smallest) & (area <= filters.largest) & (proposals.scores >= filters.score)
    )
    kept = kept[np.argsort(-proposals.scores[kept], kind="stable")][: max(filters.before, filters.most)]
    found = proposals.subset(kept)
    if filters.sigma is not None and len(found):
        found = matrix_nms(found, sigma=filters.sigma, updated_score=filters.updated_score)
    if len(found):
        found = found.subset(np.array(_without_overlaps(ious(found.masks), filters.overlap), dtype=np.int64))
    return found.subset(np.arange(min(len(found), filters.most)))


def matrix_nms(proposals: Proposals, *, sigma: float, updated_score: float) -> Proposals:
    """Return the proposals with scores decayed by better ones of the same category that overlap, those above the bound.

    The proposals come best first. Each is decayed by its overlap with every better one, made good by how much that one
    is itself overlapped: exp(-sigma iou^2) / exp(-sigma worst^2), the least over the better ones.
    """
    overlaps = np.triu(ious(proposals.masks), k=1)
    overlaps *= proposals.categories[:, None] == proposals.categories[None, :]
    worst = overlaps.max(axis=0, initial=0.0)
    decay = np.exp(-sigma * (overlaps**2 - worst[:, None] ** 2))
    scores = (proposals.scores * decay.min(axis=0, initial=1.0)).astype(np.float32)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= updated_score]
    return Proposals(masks=proposals.masks[order], scores=scores[order], categories=proposals.categories[order])


def ious(masks: np.ndarray) -> np.ndarray:
    """Return the IoU (N, N) of every two masks (N, H, W); 0 with an empty one."""
    if not len(masks):
        return np.zeros((0, 0))
    encoded = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]
    return np.asarray(coco_mask.iou(encoded, encoded, [0] * len(encoded)), dtype=np.float64)


def _without_overlaps(overlaps: np.ndarray, bound: float) -> list[int]:
    """Return the positions of proposals, best first, that overlap no better kept one by the bound or more."""
    kept: list[int] = []
    for one in range(len(overlaps)):
        if not kept or overlaps[one, kept].max() < bound:
            kept.append(one)
    return kept


class Filtered:
    """A source whose proposals pass filters."""

    def __init__(self, source: ProposalSource, filters: Filters) -> None:
        self._source, self._filters = source, filters

    @property
    def name(self) -> str:
        """What reports call it."""
        return self._source.name

    def __call__(self, picture: Picture) -> Proposals:
        """Return what is kept of the source's proposals."""
        return filtered(self._source(picture), self._filters)
