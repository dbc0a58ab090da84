"""The zero-shot detector of ZSI (section 3.2): regions compared with word vectors, and read back from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from risctl.core.fusion.background_sync import similarity_to_seen

STDS = (0.1, 0.1, 0.2, 0.2)
"""What the deltas of boxes are divided by in training."""
POOLED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticBoxes:
    """What the head says of N regions.

    scores (N, K + 1): logits of background and the seen classes; deltas (N, 4 (K + 1)); shared (N, H): what the encoder
    reads; restored (N, H): what the decoder makes of its answer.
    """

    scores: Tensor
    deltas: Tensor
    shared: Tensor
    restored: Tensor

    def of_classes(self, seen: Tensor, asked: Tensor) -> Tensor:
        """Return the scores (N, U + 1) of classes by their vectors `asked` (U + 1, D), the first for background.

        seen (K + 1, D): the vectors that the logits were made with. The scores are not normalised, as published.
        """
        return self.scores.softmax(-1) @ similarity_to_seen(seen, asked)


class SemanticBoxHead(nn.Module):
    """Encoder T_e over a fixed vocabulary, its decoder T_d, and a box for each seen class.

    The vocabulary (V, D) is kept in the checkpoint: no published one holds it.
    """

    vocabulary: Tensor

    def __init__(
        self, channels: int, *, hidden: int, classes: int, vocabulary: Tensor, encoder_std: float = 0.001
    ) -> None:
        """classes: seen ones, background aside; encoder_std: how far the encoder's first weights spread."""
        super().__init__()
        words, dim = vocabulary.shape
        self.register_buffer("vocabulary", vocabulary)
        first, second = nn.Linear(channels * POOLED**2, hidden), nn.Linear(hidden, hidden)
        self.shared = nn.ModuleList([first, second])
        self.to_words = nn.Linear(hidden, dim)
        self.from_vocabulary = nn.Linear(words, dim)
        self.to_vocabulary = nn.Linear(dim, words)
        self.from_words = nn.Linear(dim, hidden)
        self.deltas = nn.Linear(hidden, 4 * (classes + 1))
        for layer in (first, second):
            nn.init.xavier_uniform_(layer.weight)
        for layer in (self.to_words, self.from_vocabulary):
            nn.init.normal_(layer.weight, std=encoder_std)
        nn.init.normal_(self.deltas.weight, std=0.001)
        for layer in (first, second, self.to_words, self.from_vocabulary, self.deltas):
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, seen: Tensor) -> SemanticBoxes:
        """Compare pooled features (N, C, 7, 7) with the class vectors `seen` (K + 1, D)."""
        shared = features.flatten(1)
        for layer in self.shared:
            shared = layer(shared).relu()
        meaning = self.from_vocabulary(self.to_words(shared) @ self.vocabulary.T)
        restored = self.from_words(self.to_vocabulary(meaning) @ self.vocabulary)
        return SemanticBoxes(scores=meaning @ seen.T, deltas=self.deltas(shared), shared=shared, restored=restored)


def select_deltas(deltas: Tensor, classes: Tensor) -> Tensor:
    """Return the deltas (N, U, 4) of the classes (U,), 0 for background, of deltas (N, 4 (K + 1))."""
    return deltas.unflatten(1, (-1, 4))[:, classes.to(torch.int64)]
