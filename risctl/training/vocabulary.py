"""Gathers the vocabulary of a run, and the word vectors that go with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from risctl.core.encoders.text.hashed_words import split_words
from risctl.core.encoders.text.registry import read_tokenizer
from risctl.data.box_grounding.files import read_box_grounding
from risctl.data.datasets.coco_phrases.about_boxes import lexicon_words
from risctl.data.store.reader import Store
from risctl.errors import RecipeError
from risctl.language.byte_pairs import BytePairs
from risctl.language.class_vectors import BACKGROUND
from risctl.language.class_words import class_words, without_vector
from risctl.language.coco_classes import CLASSES
from risctl.language.flips import SWAPS, swap_left_right
from risctl.language.pretrained_tokens import PretrainedTokens
from risctl.language.tokens import words_of
from risctl.language.vocabulary import PAD, PAD_ID, UNK, UNK_ID, Vocabulary
from risctl.language.word_lists import read_word_list
from risctl.language.word_vectors import WordVectors
from risctl.recipe.schema import Recipe
from risctl.systems import vocabulary as specs

_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheredVocabulary:
    """A vocabulary and its vectors.

    Attributes:
        vocabulary: The vocabulary.
        vectors: Float32 (words, dim); None where embeddings are learned.
        note: One line for the log.
        without: The words that should have a vector and have none.
    """

    vocabulary: Vocabulary
    vectors: np.ndarray | None
    note: str
    without: tuple[str, ...] = ()


def gather_vocabulary(
    recipe: Recipe, store: Store, *, also: Sequence[Store] = (), before: Vocabulary | None = None
) -> GatheredVocabulary:
    """Gathers the vocabulary that the system of `recipe` needs.

    Learned embeddings can only know the words of the training split. Published vectors know more: the words of all
    splits and the most frequent words of the vectors join, so that the checkpoint predicts on new texts unaided. Byte
    pairs spell every text.

    Args:
        recipe: The recipe.
        store: The store to train on.
        also: Further stores to train on.
        before: The vocabulary of the checkpoint that the training begins with: its words join, its byte pairs are
            those to use.

    Raises:
        RecipeError: The vectors have another width than the recipe says, or lack a class that is to be learned.
        DataError: Vectors, byte pairs or a list of words cannot be read.
    """
    stores, spec = (store, *also), specs.vocabulary_spec(recipe.model)
    match spec:
        case specs.HashedWords():
            return _hashed_words(spec, recipe, stores, before)
        case specs.SubwordTokens():
            return _subword_tokens(spec, before)
        case specs.LearnedWords():
            return _learned_words(recipe, stores, before)
        case specs.VectorWords():
            return _vector_words(spec, recipe, stores, before)


def _subword_tokens(spec: specs.SubwordTokens, before: Vocabulary | None) -> GatheredVocabulary:
    if isinstance(before, BytePairs | PretrainedTokens):
        note = f"words: the {len(before)} tokens of the checkpoint"
        return GatheredVocabulary(vocabulary=before, vectors=None, note=note)
    tokens = read_tokenizer(spec.encoder, spec.source)
    note = f"words: the {len(tokens)} tokens of {spec.source}"
    return GatheredVocabulary(vocabulary=tokens, vectors=None, note=note)


def _learned_words(recipe: Recipe, stores: Sequence[Store], before: Vocabulary | None) -> GatheredVocabulary:
    texts = _training_texts(recipe, stores)
    vocabulary = Vocabulary.from_texts(texts, extra=(*_mirrored(recipe, texts), *_words_before(before)))
    note = (
        f"words: learned embeddings over the training vocabulary, {len(vocabulary)} words of "
        f"{recipe.data.train_split!r}"
    )
    return GatheredVocabulary(vocabulary=vocabulary, vectors=None, note=note)


def _vector_words(
    spec: specs.VectorWords, recipe: Recipe, stores: Sequence[Store], before: Vocabulary | None
) -> GatheredVocabulary:
    texts, known = _training_texts(recipe, stores), _words_before(before)
    mirrored = _mirrored(recipe, texts)
    every_split = (text for store in stores for text in store.texts("all", recipe.data.text_field))
    others = sorted({word for text in every_split for word in words_of(text)})
    names, helping = ((), ()) if spec.class_split is None else class_words(spec.class_split)
    first, classes = _first_words(spec), (*names, *helping)
    needed = (*first, *others, *mirrored, *classes, *known)
    source = WordVectors.open(spec.source, needed=needed, first=spec.extra_words, dim=spec.dim)
    if source.dim != spec.dim:
        raise RecipeError(f"model.text.dim is {spec.dim}, but the vectors of {spec.source} have {source.dim} numbers")
    background = (BACKGROUND,) if BACKGROUND in source.words else ()
    extra = (*mirrored, *others, *classes, *background, *known, *source.words[: spec.extra_words])
    frequent = Vocabulary.from_texts(texts, extra=extra)
    vocabulary = Vocabulary((*first, *frequent.words[UNK_ID + 1 :]))
    vectors, found = source.lookup(vocabulary.words, whole=spec.class_split is not None)
    vectors[[PAD_ID, UNK_ID]] = 0.0
    lacking = {word for word, has_vector in zip(vocabulary.words, found, strict=True) if not has_vector} - {PAD, UNK}
    if spec.class_split is not None and (nameless := without_vector(spec.class_split, lacking)):
        raise RecipeError(
            f"{len(nameless)} classes of the split have no vector in {spec.source}, such as {nameless[0]!r}; set "
            "model.text.vectors to a file that has them"
        )
    without = tuple(word for word in vocabulary.words if word in lacking and (word in first or word not in helping))
    named = ": " + ", ".join(without[:_NAMED]) + (", …" if len(without) > _NAMED else "") if without else ""
    note = (
        f"words: vectors of {spec.source}, {len(vocabulary)} words, {len(without)} of them without a vector (zeros)"
        f"{named}"
    )
    return GatheredVocabulary(vocabulary=vocabulary, vectors=vectors, note=note, without=without)


def _hashed_words(
    spec: specs.HashedWords, recipe: Recipe, stores: Sequence[Store], before: Vocabulary | None
) -> GatheredVocabulary:
    if before is not None:
        vectors = None if spec.vectors is None else _vectors_of(before.words, spec, first=0)[0]
        return GatheredVocabulary(
            vocabulary=before, vectors=vectors, note=f"words: {len(before)}, those of the checkpoint"
        )
    texts = _training_texts(recipe, stores)
    for file in recipe.data.box_grounding.files:
        texts.extend(sample.text for sample in read_box_grounding(Path(file), classes=len(CLASSES)))
    counts = Counter(word for text in texts for word in set(split_words(text)))
    frequent = {word for word, count in counts.items() if count >= spec.min_count} | lexicon_words()
    mirrored = {word for text in frequent for word in split_words(swap_left_right(text))}
    vocabulary = Vocabulary(sorted(frequent | mirrored))
    note = f"words: {len(vocabulary)} known ones, others by their letters"
    if spec.vectors is None:
        return GatheredVocabulary(vocabulary=vocabulary, vectors=None, note=note)
    _, extra = _vectors_of(vocabulary.words, spec, first=spec.extra_words)
    vocabulary = Vocabulary((*vocabulary.words[UNK_ID + 1 :], *extra))
    vectors, _ = _vectors_of(vocabulary.words, spec, first=0)
    note += f", {len(extra)} of them from {spec.vectors}"
    return GatheredVocabulary(vocabulary=vocabulary, vectors=vectors, note=note)


def _vectors_of(words: Sequence[str], spec: specs.HashedWords, *, first: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns vectors of `words`, zeros where there is none, and those of the file's `first` words that are new."""
    assert spec.vectors is not None
    source = WordVectors.open(spec.vectors, needed=words, first=first, dim=spec.dim)
    if source.dim != spec.dim:
        raise RecipeError(f"model.text.dim is {spec.dim}, but the vectors of {spec.vectors} have {source.dim} numbers")
    known = set(words)
    extra = tuple(word for word in source.words[:first] if word.isascii() and word.isalpha() and word not in known)
    vectors, _ = source.lookup(words, whole=True)
    vectors[[PAD_ID, UNK_ID]] = 0.0
    return vectors, extra


def _training_texts(recipe: Recipe, stores: Sequence[Store]) -> list[str]:
    return [text for store in stores for text in store.texts(recipe.data.train_split, recipe.data.text_field)]


def _words_before(before: Vocabulary | None) -> tuple[str, ...]:
    return () if before is None or isinstance(before, BytePairs | PretrainedTokens) else before.words[UNK_ID + 1 :]


def _mirrored(recipe: Recipe, texts: Sequence[str]) -> list[str]:
    """Returns the words of mirrored texts: "right" comes up in training even if the split only ever says "left"."""
    if recipe.data.augment is None or not recipe.data.augment.flip:
        return []
    swap = SWAPS[recipe.data.augment.flip_text]
    return sorted({word for text in texts for word in words_of(swap(text))})


def _first_words(spec: specs.VectorWords) -> tuple[str, ...]:
    if spec.first_words is None:
        return ()
    words = read_word_list(Path(spec.first_words))
    if len(words) != spec.first_count:
        raise RecipeError(
            f"model.vocabulary_words is {spec.first_count:,}, but {spec.first_words} has {len(words):,} words"
        )
    return words
