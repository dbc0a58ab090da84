"""Losses of a set of predicted boxes, matched one to one with the annotated instances of a phrase.

Carion et al., "End-to-End Object Detection with Transformers" (ECCV 2020), with the focal loss of Zhu et al.,
"Deformable DETR" (ICLR 2021), which compares each prediction with a text in place of a class, as Grounding DINO (ECCV
2024), OWL-ViT (ECCV 2022) and SAM 3 (2025) do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, distributed

from risctl.core.losses.boxes import cxcywh_to_xyxy, generalised_box_iou
from risctl.core.losses.clip_queries import focal_loss

_LARGEST = 1e9  # the cost of a pair that is not finite: it is taken only where nothing else is left


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeights:
    """Weights of the three terms. The defaults are those of Deformable DETR and of Grounding DINO.

    Attributes:
        classes: Of the focal loss, and of its cost.
        box: Of the L1 distance of boxes.
        giou: Of their generalised IoU.
    """

    classes: float = 2.0
    box: float = 5.0
    giou: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPredictions:
    """Predictions of one layer for B pairs of image and phrase.

    Attributes:
        logits: (B, Q, K), how well each prediction fits each of the K tokens of the phrase, or the phrase (K is 1).
        boxes: (B, Q, 4), centre and size, in [0, 1].
    """

    logits: Tensor
    boxes: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTargets:
    """What the phrases refer to.

    Attributes:
        boxes: Of each pair (N, 4), centre and size, in [0, 1]; N is 0 where the phrase refers to nothing.
        positive: Bool (B, K), the tokens that a prediction of an instance is to fit.
        compared: Bool (B, K), the tokens that count.
    """

    boxes: Sequence[Tensor]
    positive: Tensor
    compared: Tensor


Pairs = list[tuple[Tensor, Tensor]]
"""For each pair of image and phrase: the predictions, and the instances that they stand for, int64 (M,) each."""


@torch.no_grad()
def match(predicted: SetPredictions, targets: SetTargets, *, weights: SetWeights) -> Pairs:
    """Matches predictions and instances one to one at the least total cost."""
    logits, boxes = predicted.logits.float(), predicted.boxes.float()
    on, off = focal_loss(logits, torch.ones_like(logits)), focal_loss(logits, torch.zeros_like(logits))
    share = targets.positive.float() / targets.positive.sum(1, keepdim=True).clamp(min=1)
    # Tokens that do not count may have infinite logits.
    fit = torch.where(targets.positive[:, None], on - off, 0.0)
    classes = torch.einsum("bqk,bk->bq", fit, share)
    found = []
    for row, true in enumerate(targets.boxes):
        distance = (boxes[row, :, None] - true[None]).abs().sum(-1)
        overlap = generalised_box_iou(cxcywh_to_xyxy(boxes[row, :, None]), cxcywh_to_xyxy(true[None]))
        cost = weights.classes * classes[row, :, None] + weights.box * distance - weights.giou * overlap
        numbers = np.nan_to_num(cost.cpu().numpy(), nan=_LARGEST, posinf=_LARGEST, neginf=-_LARGEST)
        rows, columns = linear_sum_assignment(numbers)
        found.append(
            (torch.as_tensor(rows, device=boxes.device), torch.as_tensor(columns, device=boxes.device)),
        )
    return found


def set_losses(
    predicted: SetPredictions,
    targets: SetTargets,
    *,
    weights: SetWeights,
    match_weights: SetWeights,
) -> dict[str, Tensor]:
    """Returns the weighted terms "class", "box" and "giou", divided by the number of instances in the batch.

    Args:
        predicted: Predictions.
        targets: Targets.
        weights: Weights of the terms.
        match_weights: Weights of the costs by which predictions and instances are matched.
    """
    pairs = match(predicted, targets, weights=match_weights)
    count = instance_count(targets.boxes, like=predicted.boxes)
    labels = torch.zeros(predicted.logits.shape, device=predicted.logits.device)
    for row, (queries, _) in enumerate(pairs):
        labels[row, queries] = targets.positive[row].float()
    compared = targets.compared[:, None].expand_as(labels)
    return {
        "class": weights.classes * focal_loss(predicted.logits.float()[compared], labels[compared]).sum() / count,
        **box_losses(predicted.boxes, targets.boxes, pairs, weights=weights, count=count),
    }


def box_losses(
    boxes: Tensor, targets: Sequence[Tensor], pairs: Pairs, *, weights: SetWeights, count: Tensor
) -> dict[str, Tensor]:
    """Returns the weighted terms "box" (L1) and "giou" of matched boxes (B, Q, 4), divided by `count`."""
    own = torch.cat([boxes[row, queries] for row, (queries, _) in enumerate(pairs)]).float()
    true = torch.cat([targets[row][places] for row, (_, places) in enumerate(pairs)]).float()
    overlap = generalised_box_iou(cxcywh_to_xyxy(own), cxcywh_to_xyxy(true))
    # The sum over all boxes times 0: where nothing is matched the terms still lead to the model.
    idle = boxes.float().sum() * 0
    return {
        "box": weights.box * (own - true).abs().sum() / count + idle,
        "giou": weights.giou * (1 - overlap).sum() / count + idle,
    }


def instance_count(boxes: Sequence[Tensor], *, like: Tensor) -> Tensor:
    """Returns how many instances a batch has, averaged over processes, at least 1, on the device of `like`."""
    count = torch.tensor(float(sum(len(one) for one in boxes)), device=like.device)
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(count)
        count = count / distributed.get_world_size()
    return count.clamp(min=1)
