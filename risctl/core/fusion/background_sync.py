"""Synchronised background of ZSI (Zheng et al., CVPR 2021, section 3.4).

What "background" means is learned where regions are proposed; every part that compares with word vectors takes its
background from there.
"""

from __future__ import annotations

import torch
from torch import Tensor


def with_background(vectors: Tensor, background: Tensor | None) -> Tensor:
    """Return class vectors (K + 1, D) whose first row is `background` (D,), without its gradient; None: as they are."""
    if background is None:
        return vectors
    return torch.cat([background.detach()[None], vectors[1:]])


def similarity_to_seen(seen: Tensor, asked: Tensor) -> Tensor:
    """Return how each of the asked classes is made up of the seen ones, (K + 1, U + 1), of their vectors.

    A distribution over the seen classes, times this, scores the asked ones: its mean vector compared with theirs.
    """
    return seen @ asked.T
