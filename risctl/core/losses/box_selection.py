"""Losses of the selection among boxes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from risctl.core.fusion.box_selector import BoxScores
from risctl.data.box_grounding.boxes import BoxTargets


def box_selection_losses(
    choice: BoxScores,
    targets: BoxTargets,
    *,
    smoothing: float = 0.05,
    each: float = 0.3,
    presence: float = 0.1,
    noun: float = 0.3,
) -> dict[str, Tensor]:
    """Returns the weighted loss terms of a selection.

    "choice" is the cross-entropy over the boxes, shared among all targets. "each" is the binary cross-entropy of every
    box, so that an expression can refer to several. "presence" is that of any box being a target. "noun" is the
    cross-entropy of the category that the text names. Half precision is raised to float32.

    Args:
        choice: Scores of the boxes.
        targets: The boxes and which of them are targets.
        smoothing: Label smoothing over the boxes.
        each: Weight of "each".
        presence: Weight of "presence".
        noun: Weight of "noun".
    """
    scores, mask, is_target = choice.scores.float(), targets.boxes.mask, targets.is_target
    has_target = is_target.any(1)
    zero = choice.noun.sum() * 0
    entropy = functional.binary_cross_entropy_with_logits
    presence_term = presence * entropy(choice.presence.float(), has_target.float())
    if not mask.any():
        return {"choice": zero, "each": zero, "presence": presence_term, "noun": zero}
    logs = scores.log_softmax(1).masked_fill(~mask, 0)[has_target]
    distribution = is_target[has_target] / is_target[has_target].sum(1, keepdim=True)
    uniform = mask[has_target] / mask[has_target].sum(1, keepdim=True)
    distribution = (1 - smoothing) * distribution + smoothing * uniform
    category = targets.category_ids.gather(1, is_target.argmax(1, keepdim=True))[:, 0].masked_fill(~has_target, -1)
    known = category >= 0
    noun_term = functional.cross_entropy(choice.noun[known].float(), category[known]) if known.any() else zero
    return {
        "choice": -(distribution * logs).sum(1).mean() if len(logs) else zero,
        "each": each * entropy(scores[mask], is_target[mask]),
        "presence": presence_term,
        "noun": noun * noun_term,
    }


def target_probability(choice: BoxScores, mask: Tensor) -> Tensor:
    """Returns the probability (B,) that an expression refers to any box, 0 where there is none.

    Args:
        choice: Scores of the boxes.
        mask: (B, N) bool, True where a box is.
    """
    return torch.where(mask.any(1), choice.presence.float().sigmoid(), 0.0)
