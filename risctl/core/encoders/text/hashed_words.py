"""Embeds words, unknown ones included: one vector per known word plus hashed character n-grams.

A word's vector is its own row (if it was seen in training) plus the mean of the rows of its character n-grams, each
found by a hash (Bojanowski et al., "Enriching Word Vectors with Subword Information", 2017; here n-grams of 3 and 4 in
few buckets). "zebras", "leftmost" or a misspelling thus share most of their embedding with the word they resemble.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from risctl.language.word_grams import GRAMS, gram_buckets, split_words, word_ids

__all__ = ["GRAMS", "HashedWords", "WordIds", "gram_buckets", "split_words"]


class WordIds:
    """Turns texts into ids: (1 + GRAMS) per word, its own row and those of its n-grams. Picklable, without weights.

    Row 0 of both tables is padding, row 1 of the words' table stands for every unknown word.
    """

    def __init__(self, vocabulary: Sequence[str], *, buckets: int = 4096, max_words: int = 20) -> None:
        """Creates it for the known words `vocabulary`, in the order of their rows."""
        self.buckets = buckets
        self.max_words = max_words
        self._row = {word: row for row, word in enumerate(vocabulary, start=2)}

    def __call__(self, text: str) -> Tensor:
        """Returns the ids of `text`, int64 (max_words, 1 + GRAMS), zeros where there is no word."""
        ids = torch.zeros((self.max_words, 1 + GRAMS), dtype=torch.int64)
        found = word_ids(text, rows=self._row, buckets=self.buckets, max_words=self.max_words)
        for index, row in enumerate(found):
            ids[index, : len(row)] = torch.tensor(row)
        return ids


class HashedWords(nn.Module):
    """The embeddings of the ids that `WordIds` returns, for `known` words."""

    def __init__(self, known: int, *, channels: int, buckets: int = 4096, max_words: int = 20) -> None:
        super().__init__()
        self.max_words = max_words
        self.channels = channels
        self.words = nn.Embedding(known + 2, channels, padding_idx=0)
        self.grams = nn.Embedding(buckets + 1, channels, padding_idx=0)
        for table in (self.words, self.grams):
            nn.init.normal_(table.weight, std=channels**-0.5)
            with torch.no_grad():
                table.weight[0] = 0

    def forward(self, ids: Tensor) -> Tensor:
        """Returns vectors (..., channels) of ids (..., 1 + GRAMS)."""
        grams = ids[..., 1:]
        count = (grams > 0).sum(-1, keepdim=True).clamp(min=1)
        return self.words(ids[..., 0]) + self.grams(grams).sum(-2) / count
