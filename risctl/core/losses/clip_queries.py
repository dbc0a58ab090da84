"""ReferFormer's losses: which query is the object of a clip, and how far that query is from it.

One object a clip, so matching is the cheapest query. Everything is divided by the number of frames that show the
object, over the whole batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed
from torch.nn import functional

from risctl.core.losses.boxes import cxcywh_to_xyxy, generalised_box_iou

WEIGHTS: Mapping[str, float] = {"class": 2.0, "box": 5.0, "giou": 2.0, "mask": 2.0, "dice": 5.0}
"""The published weights, of the costs of matching as of the losses."""

_ALPHA, _GAMMA = 0.25, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipPredictions:
    """What a layer predicts. classes: logits (B, T, Q, K); boxes: (B, T, Q, 4), (cx, cy, w, h) in shares of the frame;

    masks: logits (B, T, Q, h, w)."""

    classes: Tensor
    boxes: Tensor
    masks: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipTargets:
    """What is true. masks: (B, T, h, w) in [0, 1], at the size of the predicted ones; boxes: (B, T, 4), zero where the

    object does not show; valid: (B, T) bool, where it shows; labels: (B,) int64, all 0 for one class."""

    masks: Tensor
    boxes: Tensor
    valid: Tensor
    labels: Tensor


def match_costs(predicted: ClipPredictions, targets: ClipTargets) -> Tensor:
    """Return what each query would cost as the object, (B, Q): the weighed sum of five costs.

    The class cost averages the frames that show the object, box costs all frames, mask costs the clip's volume.
    """
    chance = predicted.classes.sigmoid()
    label = targets.labels[:, None, None, None].expand(*chance.shape[:3], 1)
    chance = chance.gather(3, label)[..., 0]  # (B, T, Q)
    positive = _ALPHA * (1 - chance) ** _GAMMA * -(chance + 1e-8).log()
    negative = (1 - _ALPHA) * chance**_GAMMA * -(1 - chance + 1e-8).log()
    shown = targets.valid[..., None].to(chance.dtype)
    classes = ((positive - negative) * shown).sum(1) / shown.sum(1).clamp(min=1)
    true = targets.boxes[:, :, None]
    boxes = (predicted.boxes - true).abs().sum(-1).mean(1)
    giou = -generalised_box_iou(cxcywh_to_xyxy(predicted.boxes), cxcywh_to_xyxy(true)).mean(1)
    masks = predicted.masks.transpose(1, 2).flatten(2)  # (B, Q, T * h * w)
    volume = targets.masks.flatten(1)[:, None]
    mask = focal_loss(masks, volume.expand_as(masks)).mean(-1)
    dice = -_dice_share(masks.sigmoid(), volume)
    terms = {"class": classes, "box": boxes, "giou": giou, "mask": mask, "dice": dice}
    return torch.stack([WEIGHTS[name] * value for name, value in terms.items()]).sum(0)


@torch.no_grad()
def match_queries(predicted: ClipPredictions, targets: ClipTargets) -> Tensor:
    """Return (B,) int64: the query that costs least as each clip's object."""
    return match_costs(predicted, targets).argmin(1)


def clip_losses(
    predicted: ClipPredictions, targets: ClipTargets, *, chosen: Tensor, count: Tensor
) -> dict[str, Tensor]:
    """Return the unweighed losses "class", "box", "giou", "mask" and "dice" of one layer, scalars.

    chosen: (B,) int64, the query matched to each clip's object; count: how many frames show their object.
    """
    queries, kinds = predicted.classes.shape[2:]
    rows = torch.arange(len(chosen), device=chosen.device)
    truth = torch.zeros_like(predicted.classes)
    picked = (
        functional.one_hot(chosen, queries)[:, None, :, None]
        * functional.one_hot(targets.labels, kinds)[:, None, None, :]
    )
    truth = truth + picked * targets.valid[:, :, None, None]
    boxes = predicted.boxes[rows, :, chosen]  # (B, T, 4)
    masks = predicted.masks[rows, :, chosen].flatten(1)  # (B, T * h * w)
    volume = targets.masks.flatten(1)
    return {
        "class": focal_loss(predicted.classes, truth).sum() / count,
        "box": (boxes - targets.boxes).abs().sum() / count,
        "giou": (1 - generalised_box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets.boxes))).sum() / count,
        "mask": focal_loss(masks, volume).mean(1).sum() / count,
        "dice": (1 - _dice_share(masks.sigmoid(), volume)).sum() / count,
    }


def layer_losses(layers: Sequence[ClipPredictions], targets: ClipTargets) -> dict[str, Tensor]:
    """Return the weighed losses of all layers, each matched by itself; the last layer's keep their plain names."""
    count = valid_count(targets.valid)
    terms: dict[str, Tensor] = {}
    for number, layer in enumerate(layers):
        own = clip_losses(layer, targets, chosen=match_queries(layer, targets), count=count)
        suffix = "" if number == len(layers) - 1 else f"_{number}"
        terms |= {f"{name}{suffix}": WEIGHTS[name] * value for name, value in own.items()}
    return terms


def valid_count(valid: Tensor) -> Tensor:
    """Return how many frames (B, T) show their object, the mean over processes, at least 1."""
    count = valid.sum().float()
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(count)
        count = count / distributed.get_world_size()
    return count.clamp(min=1)


def focal_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the focal loss (alpha 0.25, gamma 2; Lin et al. 2017) of each logit."""
    chance = logits.sigmoid()
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    right = chance * truth + (1 - chance) * (1 - truth)
    return (_ALPHA * truth + (1 - _ALPHA) * (1 - truth)) * entropy * (1 - right) ** _GAMMA


def _dice_share(chance: Tensor, truth: Tensor) -> Tensor:
    """Return (2 |both| + 1) / (|first| + |second| + 1) over the last axis."""
    return (2 * (chance * truth).sum(-1) + 1) / (chance.sum(-1) + truth.sum(-1) + 1)
