"""Losses of mask logits."""

from __future__ import annotations

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


def mean_cross_entropy(logits: Tensor, targets: Tensor, padding: Tensor) -> Tensor:
    """Returns the binary cross-entropy, averaged over each image's pixels, then over the batch.

    Computed in float32 whatever the logits' dtype.

    Args:
        logits: (B, h, w).
        targets: (B, h, w) in [0, 1]; may be soft.
        padding: (B, h, w), True outside the image.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none")
    inside = (~padding).float()
    return ((entropy * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)).mean()
