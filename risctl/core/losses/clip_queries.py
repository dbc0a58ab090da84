"""ReferFormer's matching and losses (Wu et al., CVPR 2022): which query is the object of a clip, and how well it fits.

A clip has one object, so that matching is the query of least cost. All terms are divided by the number of frames that
show the object, over the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed
from torch.nn import functional

from risctl.core.losses.boxes import cxcywh_to_xyxy, generalised_box_iou

WEIGHTS: Mapping[str, float] = {"class": 2.0, "box": 5.0, "giou": 2.0, "mask": 2.0, "dice": 5.0}
"""The published weights, of the matching costs and of the losses."""

_ALPHA, _GAMMA = 0.25, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPredictions:
    """Predictions of one decoder layer.

    Attributes:
        classes: Logits (B, T, Q, K).
        boxes: (B, T, Q, 4), (cx, cy, w, h) as fractions of the frame.
        masks: Logits (B, T, Q, h, w).
    """

    classes: Tensor
    boxes: Tensor
    masks: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTargets:
    """Targets of B clips.

    Attributes:
        masks: (B, T, h, w) in [0, 1], at the size of the predicted ones.
        boxes: (B, T, 4), zero in frames without the object.
        valid: (B, T) bool, True in frames with the object.
        labels: (B,) int64, all 0 for one class.
    """

    masks: Tensor
    boxes: Tensor
    valid: Tensor
    labels: Tensor


def match_costs(predicted: ClipPredictions, targets: ClipTargets, *, weights: Mapping[str, float] = WEIGHTS) -> Tensor:
    """Returns the cost (B, Q) of each query as the clip's object: the sum of five costs, weighted by `weights`.

    The class cost averages over the frames that show the object, box costs over all frames, mask costs over the clip.
    """
    probability = predicted.classes.sigmoid()
    label = targets.labels[:, None, None, None].expand(*probability.shape[:3], 1)
    probability = probability.gather(3, label)[..., 0]  # (B, T, Q)
    positive = _ALPHA * (1 - probability) ** _GAMMA * -(probability + 1e-8).log()
    negative = (1 - _ALPHA) * probability**_GAMMA * -(1 - probability + 1e-8).log()
    shown = targets.valid[..., None].to(probability.dtype)
    classes = ((positive - negative) * shown).sum(1) / shown.sum(1).clamp(min=1)
    true = targets.boxes[:, :, None]
    boxes = (predicted.boxes - true).abs().sum(-1).mean(1)
    giou = -generalised_box_iou(cxcywh_to_xyxy(predicted.boxes), cxcywh_to_xyxy(true)).mean(1)
    masks = predicted.masks.transpose(1, 2).flatten(2)  # (B, Q, T * h * w)
    volume = targets.masks.flatten(1)[:, None]
    mask = focal_loss(masks, volume.expand_as(masks)).mean(-1)
    dice = -dice_coefficient(masks.sigmoid(), volume)
    terms = {"class": classes, "box": boxes, "giou": giou, "mask": mask, "dice": dice}
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum(0)


@torch.no_grad()
def match_queries(
    predicted: ClipPredictions, targets: ClipTargets, *, weights: Mapping[str, float] = WEIGHTS
) -> Tensor:
    """Returns the index of the query of least cost for each clip, (B,) int64."""
    return match_costs(predicted, targets, weights=weights).argmin(1)


def clip_losses(
    predicted: ClipPredictions, targets: ClipTargets, *, chosen: Tensor, count: Tensor
) -> dict[str, Tensor]:
    """Returns the unweighted losses "class", "box", "giou", "mask" and "dice" of one layer, scalars.

    Args:
        predicted: Predictions of the layer.
        targets: The targets.
        chosen: (B,) int64, the query matched to each clip's object.
        count: Number of frames that show their object.
    """
    queries, classes = predicted.classes.shape[2:]
    rows = torch.arange(len(chosen), device=chosen.device)
    labels = torch.zeros_like(predicted.classes)
    picked = (
        functional.one_hot(chosen, queries)[:, None, :, None]
        * functional.one_hot(targets.labels, classes)[:, None, None, :]
    )
    labels = labels + picked * targets.valid[:, :, None, None]
    boxes = predicted.boxes[rows, :, chosen]  # (B, T, 4)
    masks = predicted.masks[rows, :, chosen].flatten(1)  # (B, T * h * w)
    volume = targets.masks.flatten(1)
    return {
        "class": focal_loss(predicted.classes, labels).sum() / count,
        "box": (boxes - targets.boxes).abs().sum() / count,
        "giou": (1 - generalised_box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets.boxes))).sum() / count,
        "mask": focal_loss(masks, volume).mean(1).sum() / count,
        "dice": (1 - dice_coefficient(masks.sigmoid(), volume)).sum() / count,
    }


def layer_losses(
    layers: Sequence[ClipPredictions],
    targets: ClipTargets,
    *,
    weights: Mapping[str, float] = WEIGHTS,
    match_weights: Mapping[str, float] = WEIGHTS,
) -> dict[str, Tensor]:
    """Returns the weighted losses of all decoder layers, each matched on its own.

    Args:
        layers: Predictions per layer.
        targets: The targets.
        weights: Weights of the losses.
        match_weights: Weights of the costs by which queries are matched.

    Returns:
        Terms by name. Those of layers before the last carry the layer's index as a suffix.
    """
    count = valid_count(targets.valid)
    terms: dict[str, Tensor] = {}
    for number, layer in enumerate(layers):
        chosen = match_queries(layer, targets, weights=match_weights)
        layer_terms = clip_losses(layer, targets, chosen=chosen, count=count)
        suffix = "" if number == len(layers) - 1 else f"_{number}"
        terms |= {f"{name}{suffix}": weights[name] * value for name, value in layer_terms.items()}
    return terms


def valid_count(valid: Tensor) -> Tensor:
    """Returns how many frames of `valid` (B, T) show their object, averaged over processes, at least 1."""
    count = valid.sum().float()
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(count)
        count = count / distributed.get_world_size()
    return count.clamp(min=1)


def focal_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Returns the focal loss (alpha 0.25, gamma 2; Lin et al., 2017) of each logit."""
    probability = logits.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    right = probability * labels + (1 - probability) * (1 - labels)
    return (_ALPHA * labels + (1 - _ALPHA) * (1 - labels)) * entropy * (1 - right) ** _GAMMA


def dice_coefficient(probability: Tensor, labels: Tensor) -> Tensor:
    """Returns (2 |both| + 1) / (|first| + |second| + 1) over the last axis."""
    return (2 * (probability * labels).sum(-1) + 1) / (probability.sum(-1) + labels.sum(-1) + 1)
