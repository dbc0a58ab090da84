"""From scored boxes to detections: one class after another, overlapping boxes suppressed, the best kept."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from risctl.core.heads.box_conventions import BoxConvention


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Boxes (N, 4) xyxy with scores (N,), labels (N,) from 0, and the regions (N,) that they came from; best first."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    regions: Tensor

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionFilter:
    """How detections are chosen.

    score: what one must exceed; iou: the overlap above which only the best of a class stays; most: of a picture.
    """

    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    max_count: int = 100

    @torch.no_grad()
    def __call__(self, boxes: Tensor, scores: Tensor, *, conventions: BoxConvention) -> Detections:
        """Choose among boxes (R, U, 4) of U classes by their scores (R, U)."""
        found = [
            self._one(boxes[:, label], scores[:, label], label, conventions)
            for label in torch.nonzero((scores > self.score_threshold).any(0))[:, 0].tolist()
        ]
        rows = (
            torch.cat([rows for rows, _ in found]) if found else torch.zeros(0, dtype=torch.int64, device=boxes.device)
        )
        labels = torch.cat([labels for _, labels in found]) if found else rows
        own = scores[rows, labels]
        best = own.argsort(descending=True, stable=True)[: self.max_count]
        rows, labels = rows[best], labels[best]
        return Detections(boxes=boxes[rows, labels], scores=own[best], labels=labels, regions=rows)

    def _one(self, boxes: Tensor, scores: Tensor, label: int, conventions: BoxConvention) -> tuple[Tensor, Tensor]:
        rows = torch.nonzero(scores > self.score_threshold)[:, 0]
        kept = rows[conventions.suppress(boxes[rows], scores[rows], iou=self.iou_threshold)]
        return kept, torch.full_like(kept, label)
