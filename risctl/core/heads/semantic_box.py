"""The zero-shot detector of ZSI (Zheng et al., CVPR 2021): compares regions with word vectors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from risctl.core.fusion.background_sync import similarity_to_seen

STDS = (0.1, 0.1, 0.2, 0.2)
"""Standard deviations that box deltas are divided by in training."""
POOLED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticBoxes:
    """Outputs of the head for N regions.

    Attributes:
        scores: (N, K + 1) logits of background and the seen classes.
        deltas: (N, 4 * (K + 1)) box deltas per class.
        shared: (N, H) features that the encoder reads.
        restored: (N, H) their reconstruction by the decoder; without a decoder `shared` itself.
    """

    scores: Tensor
    deltas: Tensor
    shared: Tensor
    restored: Tensor

    def of_classes(self, seen: Tensor, targets: Tensor) -> Tensor:
        """Returns the scores (N, U + 1) of target classes, not normalised, as published.

        Args:
            seen: Vectors of the seen classes (K + 1, D), background first: those of the logits.
            targets: Vectors of the target classes (U + 1, D), background first.
        """
        return self.scores.softmax(-1) @ similarity_to_seen(seen, targets)


class SemanticBoxHead(nn.Module):
    """Semantic encoder T_e over a fixed vocabulary, its decoder T_d, and a box per seen class.

    The vocabulary (V, D) is saved in our checkpoints; the published ones do not hold it.
    """

    vocabulary: Tensor

    def __init__(
        self,
        channels: int,
        *,
        hidden: int,
        classes: int,
        vocabulary: Tensor,
        encoder_std: float = 0.001,
        decoder: bool = True,
    ) -> None:
        """Builds the head.

        Args:
            channels: Channels of the pooled features.
            hidden: Width of the hidden layers.
            classes: Number of seen classes K, without background.
            vocabulary: Word vectors (V, D).
            encoder_std: Standard deviation of the encoder's initial weights.
            decoder: Whether there is a decoder T_d.
        """
        super().__init__()
        words, dim = vocabulary.shape
        self.register_buffer("vocabulary", vocabulary)
        first, second = nn.Linear(channels * POOLED**2, hidden), nn.Linear(hidden, hidden)
        self.shared = nn.ModuleList([first, second])
        self.to_words = nn.Linear(hidden, dim)
        self.from_vocabulary = nn.Linear(words, dim)
        self.to_vocabulary = nn.Linear(dim, words) if decoder else None
        self.from_words = nn.Linear(dim, hidden) if decoder else None
        self.deltas = nn.Linear(hidden, 4 * (classes + 1))
        for layer in (first, second):
            nn.init.xavier_uniform_(layer.weight)
        for layer in (self.to_words, self.from_vocabulary):
            nn.init.normal_(layer.weight, std=encoder_std)
        nn.init.normal_(self.deltas.weight, std=0.001)
        for layer in (first, second, self.to_words, self.from_vocabulary, self.deltas):
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, seen: Tensor) -> SemanticBoxes:
        """Compares regions with class vectors.

        Args:
            features: Pooled features (N, C, 7, 7).
            seen: Class vectors (K + 1, D), background first.
        """
        shared = features.flatten(1)
        for layer in self.shared:
            shared = layer(shared).relu()
        meaning = self.from_vocabulary(self.to_words(shared) @ self.vocabulary.T)
        restored = shared
        if self.to_vocabulary is not None and self.from_words is not None:
            restored = self.from_words(self.to_vocabulary(meaning) @ self.vocabulary)
        return SemanticBoxes(scores=meaning @ seen.T, deltas=self.deltas(shared), shared=shared, restored=restored)


def select_deltas(deltas: Tensor, classes: Tensor) -> Tensor:
    """Returns the deltas of some classes.

    Args:
        deltas: (N, 4 * (K + 1)).
        classes: (U,) class indices, 0 for background.

    Returns:
        (N, U, 4).
    """
    return deltas.unflatten(1, (-1, 4))[:, classes.to(torch.int64)]
