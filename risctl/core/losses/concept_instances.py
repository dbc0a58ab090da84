"""The losses of SAM 3: which instances a phrase refers to, whether there is any, their boxes and their masks.

"SAM 3: Segment Anything with Concepts" (2025), with the weights of the published training configuration: 20 for the
scores and for presence, 5 and 2 for boxes, 200 and 10 for masks; costs of 2, 5 and 2. Differs from it: the predictions
of the last decoder layer alone are learned from, each instance by one prediction, and the target of a score is 1 in
place of a power of its overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from risctl.core.losses.clip_queries import dice_coefficient, focal_loss
from risctl.core.losses.set_matching import (
    SetPredictions,
    SetTargets,
    SetWeights,
    box_losses,
    instance_count,
    match,
)

_COSTS = SetWeights(classes=2.0, box=5.0, giou=2.0)
_WEIGHTS = SetWeights(classes=20.0, box=5.0, giou=2.0)
_PRESENCE, _MASK, _DICE = 20.0, 200.0, 10.0
_POSITIVE = 10.0  # weight of a prediction that stands for an instance, beside those that stand for none
_GAMMA = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptPredictions:
    """Predictions for B pairs of image and phrase.

    Attributes:
        scores: Logits (B, Q): whether a prediction is an instance of the phrase, given that there is any.
        presence: Logits (B,): whether there is any.
        boxes: (B, Q, 4), centre and size, in [0, 1].
        masks: Logits (B, Q, h, w).
    """

    scores: Tensor
    presence: Tensor
    boxes: Tensor
    masks: Tensor


def concept_losses(
    predicted: ConceptPredictions, boxes: Sequence[Tensor], masks: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Returns the weighted terms "class", "presence", "box", "giou", "mask" and "dice", float32 scalars.

    A pair whose phrase refers to nothing teaches presence alone.

    Args:
        predicted: Predictions.
        boxes: Of each pair (N, 4), centre and size, in [0, 1].
        masks: Of each pair (N, h', w'), bool or in [0, 1], of any size.
    """
    present = torch.tensor([len(one) > 0 for one in boxes], device=predicted.presence.device)
    one = torch.ones_like(present)[:, None]
    pairs = match(
        SetPredictions(logits=predicted.scores[..., None], boxes=predicted.boxes),
        SetTargets(boxes=boxes, positive=one, compared=one),
        weights=_COSTS,
    )
    count = instance_count(boxes, like=predicted.boxes)
    presence = functional.binary_cross_entropy_with_logits(predicted.presence.float(), present.float())
    drawn = torch.cat([predicted.masks[row, queries] for row, (queries, _) in enumerate(pairs)]).float()
    true = [_resized(masks[row], predicted.masks)[places] for row, (_, places) in enumerate(pairs)]
    target = torch.cat(true)
    idle = predicted.masks.float().sum() * 0
    return {
        "class": _WEIGHTS.classes * _score_loss(predicted.scores.float(), pairs, present=present),
        "presence": _PRESENCE * presence,
        **box_losses(predicted.boxes, boxes, pairs, weights=_WEIGHTS, count=count),
        "mask": _MASK * focal_loss(drawn, target).flatten(1).mean(1).sum() / count + idle,
        "dice": _DICE * (1 - dice_coefficient(drawn.sigmoid().flatten(1), target.flatten(1))).sum() / count + idle,
    }


def _score_loss(scores: Tensor, pairs: Sequence[tuple[Tensor, Tensor]], *, present: Tensor) -> Tensor:
    """Returns the mean over the predictions of pairs that have an instance; those of none are weighted by how sure."""
    labels = torch.zeros_like(scores)
    for row, (queries, _) in enumerate(pairs):
        labels[row, queries] = 1
    entropy = functional.binary_cross_entropy_with_logits(scores, labels, reduction="none")
    weight = torch.where(labels > 0, _POSITIVE, scores.detach().sigmoid() ** _GAMMA)
    return ((weight * entropy).mean(1) * present).sum() / present.sum().clamp(min=1)


def _resized(masks: Tensor, like: Tensor) -> Tensor:
    """Returns masks (N, h', w') at the size of `like` (B, Q, h, w), each cell the share of it that is covered."""
    if not len(masks):
        return like.new_zeros((0, *like.shape[-2:]), dtype=torch.float32)
    size = (like.shape[-2], like.shape[-1])
    return functional.interpolate(masks[:, None].float(), size=size, mode="area")[:, 0]
