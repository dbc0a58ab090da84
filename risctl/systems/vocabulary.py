"""Defines what a system needs of the vocabulary that it is trained with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from risctl.language.coco_classes import ClassSplit
from risctl.section import ModelSection


@dataclass(frozen=True, slots=True, kw_only=True)
class SubwordTokens:
    """The tokens of a pretrained tokenizer, which spell every text.

    Attributes:
        source: A hub id, or a folder with the tokenizer's files.
        encoder: The name of the text encoder, which decides how they are read.
    """

    source: str
    encoder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnedWords:
    """The words of the training split, whose embeddings are learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HashedWords:
    """Frequent words; the model spells others by hashed character n-grams.

    Attributes:
        min_count: In how many texts a word must occur.
        vectors: Published vectors, a file, None for none.
        dim: The width of a vector.
        extra_words: How many of the vectors' most frequent words join.
    """

    min_count: int = 2
    vectors: str | None = None
    dim: int = 0
    extra_words: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorWords:
    """Words with published vectors: those of all splits and the most frequent ones of the vectors.

    Attributes:
        source: The vectors: a file, or the name of a spaCy model.
        dim: The width of a vector.
        extra_words: How many of the vectors' most frequent words join.
        first_words: A file of words, one per line, that come first in the vocabulary; None: no words come first.
        first_count: The expected number of `first_words`.
        class_split: The classes that must have a vector; their names of several words are looked up whole, too.
    """

    source: str
    dim: int
    extra_words: int = 0
    first_words: str | None = None
    first_count: int = 0
    class_split: ClassSplit | None = None


VocabularySpec = SubwordTokens | LearnedWords | HashedWords | VectorWords


@runtime_checkable
class StatesVocabulary(Protocol):
    """A `model` section that states itself what its system needs."""

    def vocabulary_spec(self) -> VocabularySpec:
        """Returns what the system needs."""


def vocabulary_spec(model: ModelSection) -> VocabularySpec:
    """Returns what the system of a `model` section needs of its vocabulary.

    A section that does not state it itself (`StatesVocabulary`) is read by the keys of its `text` section: `tokens`
    names a tokenizer, `vectors` word vectors; without either, embeddings are learned.
    """
    if isinstance(model, StatesVocabulary):
        return model.vocabulary_spec()
    text = model.text
    if (tokens := getattr(text, "tokens", None)) is not None:
        return SubwordTokens(source=tokens, encoder=text.name)
    if (vectors := getattr(text, "vectors", None)) is not None:
        return VectorWords(source=vectors, dim=text.dim, extra_words=text.extra_words)
    return LearnedWords()
