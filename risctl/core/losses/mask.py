"""Losses of mask logits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the binary cross-entropy, summed over pixels and averaged over the batch.

    Computed in float32 whatever the logits' dtype: a sum over 43,264 pixels overflows float16.

    Args:
        logits: (B, h, w).
        targets: (B, h, w) in [0, 1]; may be soft.
    """
    total = functional.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="sum")
    return total / logits.shape[0]


def mean_cross_entropy(
    predicted: Tensor, targets: Tensor, padding: Tensor | None, *, probabilities: bool = False
) -> Tensor:
    """Returns the binary cross-entropy, averaged over each image's pixels, then over the batch.

    Computed in float32 whatever the dtype.

    Args:
        predicted: Logits (B, h, w), or probabilities.
        targets: (B, h, w) in [0, 1]; may be soft.
        padding: (B, h, w), True outside the image; None counts all pixels.
        probabilities: Whether `predicted` holds probabilities.
    """
    targets = targets.float().clamp(0, 1)  # a resized target can exceed 1 by rounding
    with torch.autocast(predicted.device.type, enabled=False):  # on probabilities, cross-entropy refuses autocast
        entropy = (
            functional.binary_cross_entropy(predicted.float(), targets, reduction="none")
            if probabilities
            else functional.binary_cross_entropy_with_logits(predicted.float(), targets, reduction="none")
        )
    inside = torch.ones_like(entropy) if padding is None else (~padding).float()
    return ((entropy * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)).mean()


def weighted_cross_entropy(logits: Tensor, targets: Tensor, *, weights: tuple[float, float] = (0.9, 1.1)) -> Tensor:
    """Returns the cross-entropy of two classes, weighted by class and divided by the sum of the weights.

    It is torch's `cross_entropy` with class weights, on the difference of the two classes' logits. Computed in float32.
    Source: the published code of LAVT (CVPR 2022) and ReLA (CVPR 2023).

    Args:
        logits: The second class's logit minus the first one's, any shape.
        targets: The same shape, 1 where the second class is, else 0.
        weights: Weights of the two classes.
    """
    share = torch.where(targets > 0.5, weights[1], weights[0]).float()
    entropy = functional.binary_cross_entropy_with_logits(logits.float(), (targets > 0.5).float(), reduction="none")
    return (entropy * share).sum() / share.sum()
