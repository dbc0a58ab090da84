"""Embeds words, unknown ones included: one vector per known word plus hashed character n-grams.

A word's vector is its own row (if it was seen in training) plus the mean of the rows of its character n-grams, each
found by a hash (Bojanowski et al., "Enriching Word Vectors with Subword Information", 2017; here n-grams of 3 and 4 in
few buckets). "zebras", "leftmost" or a misspelling thus share most of their embedding with the word they resemble.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from risctl.language.word_grams import GRAMS, gram_buckets, split_words, word_ids

_UNKNOWN = 1  # the row of unknown words
_LENGTH = 3.0  # of a published vector: then its projection learns about as fast as the rows

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
    """The embeddings of the ids that `WordIds` returns, for `known` words.

    With published vectors of words, a learned projection of a word's vector is added, so that a word that training
    never meets means what similar ones do. In training a word's own row is then sometimes replaced by that of unknown
    words: the projection must carry the meaning alone.
    """

    vectors: Tensor

    def __init__(
        self,
        known: int,
        *,
        channels: int,
        buckets: int = 4096,
        max_words: int = 20,
        dim: int = 0,
        vectors: np.ndarray | None = None,
        row_dropout: float = 0.0,
    ) -> None:
        """Builds the embeddings.

        Args:
            known: Number of known words.
            channels: Width of an embedding.
            buckets: Buckets that n-grams are hashed into.
            max_words: Number of words after which an expression is truncated.
            dim: Width of published vectors, 0 for none.
            vectors: Float32 (known + 2, dim), zeros where a word has none; None: zeros, for a checkpoint to fill.
            row_dropout: Share of words with a vector whose own row is replaced in training.
        """
        super().__init__()
        self.max_words = max_words
        self.row_dropout = row_dropout
        self.channels = channels
        self.words = nn.Embedding(known + 2, channels, padding_idx=0)
        self.grams = nn.Embedding(buckets + 1, channels, padding_idx=0)
        for table in (self.words, self.grams):
            nn.init.normal_(table.weight, std=channels**-0.5)
            with torch.no_grad():
                table.weight[0] = 0
        self.project = nn.Linear(dim, channels, bias=False) if dim else None
        if self.project is not None:
            nn.init.zeros_(self.project.weight)
            given = torch.zeros(known + 2, dim) if vectors is None else torch.from_numpy(vectors).float()
            lengths = given.norm(dim=1, keepdim=True).clamp(min=1e-6)
            self.register_buffer("vectors", _LENGTH * given / lengths)

    def forward(self, ids: Tensor) -> Tensor:
        """Returns vectors (..., channels) of ids (..., 1 + GRAMS)."""
        grams = ids[..., 1:]
        count = (grams > 0).sum(-1, keepdim=True).clamp(min=1)
        rows = ids[..., 0]
        if self.project is None:
            return self.words(rows) + self.grams(grams).sum(-2) / count
        vectors = self.vectors[rows]
        if self.training and self.row_dropout:
            dropped = (torch.rand(rows.shape, device=rows.device) < self.row_dropout) & vectors.any(-1)
            rows = rows.masked_fill(dropped, _UNKNOWN)
        return self.words(rows) + self.project(vectors) + self.grams(grams).sum(-2) / count

    @torch.no_grad()
    def fold(self) -> None:
        """Adds the projected vectors to the words' rows and forgets them: the embeddings stay what they are."""
        if self.project is not None:
            self.words.weight += self.project(self.vectors)
            self.project = None
            del self.vectors
