"""Encodes an expression for ZSI: the word vector of its head noun or class, and the location that it names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures
from risctl.errors import UsageError, nearest
from risctl.language.coco_classes import CLASSES
from risctl.language.head_nouns import ANYTHING, head_name
from risctl.language.location_phrases import RULE_WORDS, SIDES, place_of
from risctl.language.tokens import words_of
from risctl.language.vocabulary import UNK, UNK_ID, Vocabulary

SIDE_NAMES = tuple(SIDES)


class QueryWordEmbedding(nn.Module):
    """Maps word ids to the vector of the category that they name; it has no parameters.

    The vectors are kept in the checkpoint, so that any of their words can be queried. COCO's other classes are known by
    name as well, by the vectors of their words.
    """

    vectors: Tensor

    def __init__(self, vocabulary: Vocabulary, vectors: Tensor, *, classes: Sequence[str]) -> None:
        """Creates the encoder.

        Args:
            vocabulary: V words.
            vectors: Their vectors (V, D), zeros where a word has none.
            classes: Names of the classes whose vectors `forward` is given.
        """
        super().__init__()
        self.register_buffer("vectors", vectors)
        self.channels = vectors.shape[1]
        self.words = vocabulary.words
        self.classes = tuple(classes)
        self._names = tuple(dict.fromkeys((*self.classes, *CLASSES.values())))
        self._numbers = {word: number for number, word in enumerate(vocabulary.words) if number > UNK_ID}

    def forward(self, words: Tensor, mask: Tensor, of_classes: Tensor | None = None) -> TextFeatures:
        """Encodes word ids.

        Args:
            words: Word ids (B, L).
            mask: Their mask (B, L).
            of_classes: Vectors of the classes, (classes, D), used in place of those of their words.

        Returns:
            Features whose `sentence` (B, D + 8) is the vector of the named category (zeros if no word names one), which
            of `SIDE_NAMES` are named, and the rank.
        """
        ids = words.masked_fill(~mask, 0)
        sentences = [self._sentence(row, present, of_classes) for row, present in zip(ids, mask, strict=True)]
        return TextFeatures(words=self.vectors[ids] * mask[..., None], mask=mask, sentence=torch.stack(sentences))

    def vector_of(self, name: str) -> Tensor:
        """Returns the vector (D,) of `name`, else the mean of the vectors of its words, scaled to their mean norm.

        Raises:
            UsageError: A word other than a function word ("of") has no vector, or none has; names the nearest word.
        """
        words = words_of(name)
        if self._is_known("_".join(words)):
            return self.vectors[self._numbers["_".join(words)]]
        lacking = [word for word in words if not self._is_known(word)]
        known = [self._numbers[word] for word in words if word not in lacking]
        if not known or any(word not in RULE_WORDS for word in lacking):
            raise UsageError(self._unknown(name, lacking))
        mean = self.vectors[known].mean(0)
        return mean * (self.vectors[known].norm(dim=1).mean() / mean.norm().clamp(min=1e-6))

    def _unknown(self, name: str, lacking: Sequence[str]) -> str:
        word = next((one for one in lacking if one not in RULE_WORDS), lacking[0])
        has = self.vectors.any(1).tolist()
        known = {one.replace("_", " ") for one, number in self._numbers.items() if has[number]} | set(self.classes)
        close = nearest(name, known) or nearest(word, known)
        hint = f"did you mean {close!r}?" if close else f"it knows {len(known):,} words, none of them alike"
        of = "" if word == name else f" of {name!r}"
        return f"{word!r}{of} has no vector in this checkpoint; {hint}"

    def _sentence(self, ids: Tensor, mask: Tensor, of_classes: Tensor | None) -> Tensor:
        texts = [self.words[number] for number in ids[mask].tolist()]
        name = self._name(texts)
        if name is None:
            vector = torch.zeros_like(self.vectors[0])
        elif of_classes is not None and name in self.classes:
            vector = of_classes[self.classes.index(name)]
        else:
            vector = self.vector_of(name)
        place = place_of(texts)
        named = vector.new_tensor([float(side in place.sides) for side in SIDE_NAMES] + [float(place.rank)])
        return torch.cat([vector, named])

    def _name(self, texts: Sequence[str]) -> str | None:
        names = [name for name in self._names if name in self.classes or self._has_vector(name)]
        said = [ANYTHING if text == UNK else text for text in texts]
        return head_name(said, names=names, is_known=self._is_known)

    def _has_vector(self, name: str) -> bool:
        return self._is_known(name.replace(" ", "_")) or all(map(self._is_known, name.split()))

    def _is_known(self, word: str) -> bool:
        number = self._numbers.get(word)
        return number is not None and bool(self.vectors[number].any())
