"""Losses of the detection head, and the assignment of cells to instances.

Quality and distribution focal loss follow Li et al., "Generalized Focal Loss" (2020). The assignment follows Zhang et
al., "Bridging the Gap Between Anchor-based and Anchor-free Detection" (ATSS, 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou, generalized_box_iou_loss

from risctl.core.heads.detection import BINS, CellPredictions

_CANDIDATES = 9  # candidate cells per level and instance
_ANCHOR = 5.0  # side of the square that stands for a cell during assignment, in strides


def assign_cells(centres: Tensor, strides: Tensor, boxes: Tensor) -> Tensor:
    """Assigns cells to instances (ATSS).

    Args:
        centres: (A, 2) x and y of the cells in input pixels.
        strides: (A,) in input pixels.
        boxes: (G, 4) xyxy of the instances in input pixels.

    Returns:
        (A,) int64: the index of each cell's instance, -1 for none.
    """
    if not len(boxes):
        return torch.full((len(centres),), -1, dtype=torch.int64, device=centres.device)
    half = strides[:, None] * _ANCHOR / 2
    overlaps = box_iou(torch.cat([centres - half, centres + half], 1), boxes)  # (A, G)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    distances = torch.cdist(centres, middles)
    chosen = torch.zeros_like(overlaps, dtype=torch.bool)
    for stride in strides.unique():
        level = torch.nonzero(strides == stride)[:, 0]
        nearest = distances[level].topk(min(_CANDIDATES, len(level)), dim=0, largest=False).indices
        chosen[level[nearest], torch.arange(len(boxes), device=boxes.device)] = True
    considered = overlaps.masked_fill(~chosen, float("nan"))
    mean = considered.nanmean(0)
    spread = (considered - mean).square().nanmean(0).sqrt()
    sides = torch.cat([centres[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - centres[:, None]], -1)
    fits = chosen & (overlaps >= mean + spread) & (sides.amin(-1) > 0.01)
    best, instance = overlaps.masked_fill(~fits, -1.0).max(1)
    return torch.where(best >= 0, instance, -1)


def detection_losses(cells: CellPredictions, boxes: list[Tensor], classes: list[Tensor]) -> dict[str, Tensor]:
    """Returns the terms "quality", "overlap" and "sides" of a batch.

    Args:
        cells: Predictions for B images.
        boxes: (G, 4) xyxy in input pixels per image.
        classes: (G,) int64 per image.
    """
    predicted = cells.boxes()
    qualities = torch.zeros_like(cells.scores)
    weights, overlaps, sides = [], [], []
    for row, (instances, labels) in enumerate(zip(boxes, classes, strict=True)):
        instance = assign_cells(cells.centres, cells.strides, instances)
        cell = torch.nonzero(instance >= 0)[:, 0]
        if not len(cell):
            continue
        target = instances[instance[cell]]
        with torch.no_grad():
            quality = _paired_iou(predicted[row, cell], target)
        qualities[row, cell, labels[instance[cell]]] = quality.to(qualities.dtype)
        weight = cells.scores[row, cell].detach().sigmoid().amax(1)
        weights.append(weight)
        overlaps.append((generalized_box_iou_loss(predicted[row, cell], target) * weight).sum())
        reach = torch.cat([cells.centres[cell] - target[:, :2], target[:, 2:] - cells.centres[cell]], 1)
        reach = (reach / cells.strides[cell, None]).clamp(0, BINS - 1 - 0.01)
        sides.append((_distribution_loss(cells.sides[row, cell], reach) * weight[:, None]).sum() / 4)
    modulation = (cells.scores.sigmoid() - qualities).square()
    quality_terms = modulation * functional.binary_cross_entropy_with_logits(cells.scores, qualities, reduction="none")
    positives = max(sum(len(one) for one in weights), 1)
    total = torch.stack([one.sum() for one in weights]).sum().clamp(min=1.0) if weights else cells.scores.new_ones(())
    zero = cells.sides.sum() * 0
    return {
        "quality": quality_terms.sum() / positives,
        "overlap": 2.0 * (torch.stack(overlaps).sum() / total if overlaps else zero),
        "sides": 0.25 * (torch.stack(sides).sum() / total if sides else zero),
    }


def _distribution_loss(sides: Tensor, reach: Tensor) -> Tensor:
    """Returns (P, 4): the cross-entropy with the two bins around each distance `reach` (P, 4), in strides."""
    low = reach.floor().long()
    share = reach - low
    logs = sides.log_softmax(-1)
    near = logs.gather(-1, low[..., None])[..., 0]
    far = logs.gather(-1, low[..., None] + 1)[..., 0]
    return -(1 - share) * near - share * far


def _paired_iou(first: Tensor, second: Tensor) -> Tensor:
    low, high = torch.maximum(first[:, :2], second[:, :2]), torch.minimum(first[:, 2:], second[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    areas = (first[:, 2:] - first[:, :2]).prod(1) + (second[:, 2:] - second[:, :2]).prod(1)
    return shared / (areas - shared).clamp(min=1e-6)
