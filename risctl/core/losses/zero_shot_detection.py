"""ZSI's losses of proposals, regions and masks (Zheng et al., CVPR 2021)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from risctl.core.heads.semantic_box import SemanticBoxes
from risctl.core.heads.semantic_mask import SemanticMasks

RECONSTRUCTION_WEIGHT = 0.5
"""Weight of both reconstruction losses L_R."""


def proposal_losses(logits: Tensor, deltas: Tensor, labels: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Returns "proposal_class" and "proposal_box" of N sampled anchors.

    Args:
        logits: (N, 2) background and foreground.
        deltas: (N, 4).
        labels: (N,) int64, 1 for foreground.
        targets: (N, 4) deltas, used for foreground only.
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
    """Returns "class", "box" and "box_restored" of N sampled regions.

    Args:
        boxes: The head's outputs.
        labels: (N,) int64, 0 for background, else the seen class.
        targets: (N, 4) deltas, used for foreground only.
    """
    inside = labels > 0
    selected = boxes.deltas.unflatten(1, (-1, 4))[inside, labels[inside]]
    box = functional.smooth_l1_loss(selected, targets[inside], beta=1.0, reduction="sum")
    return {
        "class": functional.cross_entropy(boxes.scores, labels),
        "box": box / max(len(labels), 1),
        "box_restored": reconstruction_loss(boxes.shared, boxes.restored),
    }


def mask_losses(masks: SemanticMasks, logits: Tensor, labels: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Returns "mask" and "mask_restored" of N regions.

    Args:
        masks: The head's outputs.
        logits: (N, K + 1, S, S).
        labels: (N,) int64 class indices.
        targets: (N, S, S) in [0, 1].
    """
    if not len(labels):
        nothing = logits.sum() * 0 + masks.restored.sum() * 0
        return {"mask": nothing, "mask_restored": nothing}
    selected = logits.gather(1, labels[:, None, None, None].expand(-1, 1, *logits.shape[2:]))[:, 0]
    return {
        "mask": functional.binary_cross_entropy_with_logits(selected, targets),
        "mask_restored": reconstruction_loss(masks.shared, masks.restored),
    }


def reconstruction_loss(shared: Tensor, restored: Tensor) -> Tensor:
    """Returns the reconstruction loss L_R of the decoder's output; gradients reach both arguments."""
    return RECONSTRUCTION_WEIGHT * functional.mse_loss(restored, shared)
