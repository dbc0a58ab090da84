"""Synchronised background of ZSI (Zheng et al., CVPR 2021).

The region proposal network learns a vector for background; all heads that compare with word vectors use it as theirs.
"""

from __future__ import annotations

import torch
from torch import Tensor


def with_background(vectors: Tensor, background: Tensor | None) -> Tensor:
    """Replaces the background's vector among class vectors.

    Args:
        vectors: Class vectors (K + 1, D), background first.
        background: The learned vector (D,), used without its gradient; None keeps `vectors`.

    Returns:
        Class vectors (K + 1, D).
    """
    if background is None:
        return vectors
    return torch.cat([background.detach()[None], vectors[1:]])


def similarity_to_seen(seen: Tensor, targets: Tensor) -> Tensor:
    """Returns the dot products of seen with target classes, (K + 1, U + 1).

    A distribution over the seen classes, multiplied by this matrix, scores the target classes: the dot product of the
    expected seen vector with each target vector.

    Args:
        seen: Vectors of the seen classes (K + 1, D), background first.
        targets: Vectors of the target classes (U + 1, D), background first.
    """
    return seen @ targets.T
