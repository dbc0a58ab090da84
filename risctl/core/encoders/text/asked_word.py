"""A phrase as ZSI is asked it: the word vector of its head noun, and the place that the other words name."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures
from risctl.errors import UsageError, nearest
from risctl.language.places import SIDES, head_of, place_of
from risctl.language.tokens import words_of
from risctl.language.vocabulary import UNK, UNK_ID, Vocabulary

SIDE_NAMES = tuple(SIDES)


class AskedWord(nn.Module):
    """Word ids to the head noun's vector; it has nothing to learn.

    vectors (words, D): of the vocabulary's words, zeros where a word has none; they are kept in the checkpoint, so that
    it can be asked for any of them.
    """

    vectors: Tensor

    def __init__(self, vocabulary: Vocabulary, vectors: Tensor, *, classes: Iterable[str]) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors)
        self.channels = vectors.shape[1]
        self.words = vocabulary.words
        self._numbers = {word: number for number, word in enumerate(vocabulary.words) if number > UNK_ID}
        self.classes = frozenset(word for name in classes for word in name.split())

    def forward(self, words: Tensor, mask: Tensor) -> TextFeatures:
        """Read word ids (B, L) with mask (B, L). `sentence` (B, D + 8): the head noun's vector, zeros if none has one,
        which of `SIDE_NAMES` are named, and the rank."""
        ids = words.masked_fill(~mask, 0)
        sentences = [self._asked(row, present) for row, present in zip(ids, mask, strict=True)]
        return TextFeatures(words=self.vectors[ids] * mask[..., None], mask=mask, sentence=torch.stack(sentences))

    def vector_of(self, name: str) -> Tensor:
        """Return the mean vector (D,) of the words of `name`, as long as the vectors of single words are.

        Raises `UsageError` if none of them has one.
        """
        numbers = [self._numbers[word] for word in words_of(name) if word in self._numbers]
        known = [number for number in numbers if self.vectors[number].any()]
        if not known:
            close = nearest(name, self._numbers)
            hint = f"; did you mean {close!r}?" if close else ", ask for another"
            raise UsageError(f"no word of {name!r} has a vector in this checkpoint{hint}")
        mean = self.vectors[known].mean(0)
        return mean * (self.vectors[known].norm(dim=1).mean() / mean.norm().clamp(min=1e-6))

    def _asked(self, ids: Tensor, mask: Tensor) -> Tensor:
        numbers = ids[mask].tolist()
        texts = [self.words[number] for number in numbers]
        known = {UNK: False} | {
            text: bool(self.vectors[number].any())
            for text, number in zip(texts, numbers, strict=True)
            if number > UNK_ID
        }
        head = head_of(texts, is_known=lambda word: known[word], is_class=lambda word: word in self.classes)
        vector = self.vectors[0] * 0 if head is None else self.vectors[numbers[head]]
        place = place_of(texts)
        named = vector.new_tensor([float(name in place.sides) for name in SIDE_NAMES] + [float(place.rank)])
        return torch.cat([vector, named])
