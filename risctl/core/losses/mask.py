"""Losses of a mask against its target."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def summed_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the binary cross-entropy of logits (B, h, w), summed over the pixels and averaged over the batch.

    The targets (B, h, w) may be soft. In float32 whatever the logits' precision: a sum of 43,264 overflows float16.
    """
    total = functional.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="sum")
    return total / logits.shape[0]


def mean_cross_entropy(logits: Tensor, targets: Tensor, padding: Tensor) -> Tensor:
    """Return the binary cross-entropy of logits (B, h, w), averaged over each picture's pixels, then over the batch.

    The targets (B, h, w) may be soft; padding (B, h, w) is True where there is no picture. In float32 whatever the
    logits' precision.
    """
    entropy = functional.binary_cross_entropy_with_logits(logits.float(), targets.float(), reduction="none")
    inside = (~padding).float()
    return ((entropy * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)).mean()
