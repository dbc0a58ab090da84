"""ZSI's losses: of proposed regions, of compared regions and of their masks (Zheng et al., section 3.5)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from risctl.core.heads.semantic_box import SemanticBoxes
from risctl.core.heads.semantic_mask import SemanticMasks

RECONSTRUCTION_WEIGHT = 0.5
"""Of both reconstruction losses L_R."""


def proposal_losses(logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return "proposal_class" and "proposal_box" of N sampled anchors.

    logits (N, 2), deltas (N, 4); labels (N,): 1 where there is something; targets (N, 4) deltas, used there only.
    """
    if not len(labels):
        return {"proposal_class": logits.sum() * 0, "proposal_box": deltas.sum() * 0}
    inside = labels > 0
    box = functional.smooth_l1_loss(deltas[inside], targets[inside], beta=1 / 9, reduction="sum")
    return {
        "proposal_class": functional.cross_entropy(logits, labels),
        "proposal_box": box / len(labels),
    }


def region_losses(boxes: SemanticBoxes, labels: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return "class", "box" and "box_restored" of N sampled regions.

    labels (N,): 0 for background, else the seen class; targets (N, 4) deltas, used where it is not background.
    """
    inside = labels > 0
    own = boxes.deltas.unflatten(1, (-1, 4))[inside, labels[inside]]
    box = functional.smooth_l1_loss(own, targets[inside], beta=1.0, reduction="sum")
    return {
        "class": functional.cross_entropy(boxes.scores, labels),
        "box": box / max(len(labels), 1),
        "box_restored": reconstruction_loss(boxes.shared, boxes.restored),
    }


def mask_losses(masks: SemanticMasks, logits: Tensor, labels: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return "mask" and "mask_restored" of N regions: logits (N, K + 1, S, S), labels (N,), targets (N, S, S)."""
    if not len(labels):
        nothing = logits.sum() * 0 + masks.restored.sum() * 0
        return {"mask": nothing, "mask_restored": nothing}
    own = logits.gather(1, labels[:, None, None, None].expand(-1, 1, *logits.shape[2:]))[:, 0]
    return {
        "mask": functional.binary_cross_entropy_with_logits(own, targets),
        "mask_restored": reconstruction_loss(masks.shared, masks.restored),
    }


def reconstruction_loss(shared: Tensor, restored: Tensor) -> Tensor:
    """Return L_R: what the encoder reads and what the decoder gives back; gradients reach both."""
    return RECONSTRUCTION_WEIGHT * functional.mse_loss(restored, shared)
