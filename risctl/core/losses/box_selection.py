"""Losses of a choice among boxes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from risctl.core.fusion.box_selector import BoxScores
from risctl.data.box_grounding.boxes import BoxTargets


def box_selection_losses(
    choice: BoxScores,
    asked: BoxTargets,
    *,
    smoothing: float = 0.05,
    each: float = 0.3,
    presence: float = 0.1,
    noun: float = 0.3,
) -> dict[str, Tensor]:
    """Return the terms of `choice` against what was meant, weighted:

    "choice": cross-entropy over the boxes, the targets sharing the weight but for `smoothing`; "each": of every box by
    itself, so that several can be meant; "presence": of any being meant; "noun": of the class that the text alone
    speaks of. What is in half precision is raised to float32.
    """
    scores, mask, meant = choice.scores.float(), asked.boxes.mask, asked.is_target
    there = meant.any(1)
    zero = choice.noun.sum() * 0
    entropy = functional.binary_cross_entropy_with_logits
    absence = presence * entropy(choice.presence.float(), there.float())
    if not mask.any():
        return {"choice": zero, "each": zero, "presence": absence, "noun": zero}
    logs = scores.log_softmax(1).masked_fill(~mask, 0)[there]
    wanted = meant[there] / meant[there].sum(1, keepdim=True)
    even = mask[there] / mask[there].sum(1, keepdim=True)
    wanted = (1 - smoothing) * wanted + smoothing * even
    first = asked.category_ids.gather(1, meant.argmax(1, keepdim=True))[:, 0].masked_fill(~there, -1)
    known = first >= 0
    nouns = functional.cross_entropy(choice.noun[known].float(), first[known]) if known.any() else zero
    return {
        "choice": -(wanted * logs).sum(1).mean() if len(logs) else zero,
        "each": each * entropy(scores[mask], meant[mask]),
        "presence": absence,
        "noun": noun * nouns,
    }


def target_probability(choice: BoxScores, there: Tensor) -> Tensor:
    """Return how probably a text means anything (B,), 0 where there is no box; there (B, N) bool, where boxes are."""
    return torch.where(there.any(1), choice.presence.float().sigmoid(), 0.0)
