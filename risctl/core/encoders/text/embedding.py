"""Maps word ids to vectors: published ones that stay frozen, or learned ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class FrozenVectors(nn.Module):
    """Vectors that do not train. They are a buffer: kept in checkpoints, not counted among the parameters."""

    vectors: Tensor

    def __init__(self, vectors: Tensor) -> None:
        """Stores `vectors` (words, dim); row 0, padding, must be zero."""
        super().__init__()
        self.register_buffer("vectors", vectors)

    def forward(self, words: Tensor) -> Tensor:
        """Maps ids (B, L) to (B, L, dim)."""
        return functional.embedding(words, self.vectors)


class LearnedVectors(nn.Module):
    """Vectors that train with the model. Padding is zero and stays so; the unknown word starts from zero."""

    def __init__(self, words: int, dim: int, *, initial: Tensor | None = None) -> None:
        """Creates vectors for `words` words, from `initial` (words, dim) if given."""
        super().__init__()
        self.vectors = nn.Parameter(torch.empty(words, dim))
        if initial is None:
            nn.init.normal_(self.vectors, std=0.5)
            with torch.no_grad():
                self.vectors[:2].zero_()
        else:
            with torch.no_grad():
                self.vectors.copy_(initial)

    def forward(self, words: Tensor) -> Tensor:
        """Maps ids (B, L) to (B, L, dim)."""
        return functional.embedding(words, self.vectors, padding_idx=0)
