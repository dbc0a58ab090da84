"""Selects detections from scored boxes by class-wise non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from risctl.core.heads.box_conventions import BoxConvention


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Detections of one image, by falling score.

    Attributes:
        boxes: (N, 4) xyxy in input pixels.
        scores: (N,).
        labels: (N,) class indices from 0.
        regions: (N,) indices of the regions that they come from.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    regions: Tensor

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionFilter:
    """Selects detections.

    Attributes:
        score_threshold: Score that a detection must exceed.
        iou_threshold: Overlap above which the lower-scored of two boxes of a class is suppressed.
        max_count: Detections of an image.
    """

    score_threshold: float = 0.05
    iou_threshold: float = 0.5
    max_count: int = 100

    @torch.no_grad()
    def __call__(self, boxes: Tensor, scores: Tensor, *, conventions: BoxConvention) -> Detections:
        """Selects detections among R regions for U classes.

        Args:
            boxes: (R, U, 4) xyxy, a box per region and class.
            scores: (R, U).
            conventions: How boxes are measured.
        """
        kept_by_class = [
            self._select_class(boxes[:, label], scores[:, label], label, conventions)
            for label in torch.nonzero((scores > self.score_threshold).any(0))[:, 0].tolist()
        ]
        rows = (
            torch.cat([rows for rows, _ in kept_by_class])
            if kept_by_class
            else torch.zeros(0, dtype=torch.int64, device=boxes.device)
        )
        labels = torch.cat([labels for _, labels in kept_by_class]) if kept_by_class else rows
        selected = scores[rows, labels]
        best = selected.argsort(descending=True, stable=True)[: self.max_count]
        rows, labels = rows[best], labels[best]
        return Detections(boxes=boxes[rows, labels], scores=selected[best], labels=labels, regions=rows)

    def _select_class(
        self, boxes: Tensor, scores: Tensor, label: int, conventions: BoxConvention
    ) -> tuple[Tensor, Tensor]:
        rows = torch.nonzero(scores > self.score_threshold)[:, 0]
        kept = rows[conventions.nms(boxes[rows], scores[rows], iou_threshold=self.iou_threshold)]
        return kept, torch.full_like(kept, label)
