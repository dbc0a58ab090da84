"""The vocabulary of a run, and the word vectors that go with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from risctl.core.encoders.text.hashed_words import split_words
from risctl.data.box_files import read_questions
from risctl.data.datasets.coco_phrases.about_boxes import lexicon_words
from risctl.data.store.reader import Store
from risctl.errors import RecipeError
from risctl.language.byte_pairs import BytePairs
from risctl.language.class_vectors import BACKGROUND
from risctl.language.coco_classes import CLASSES, SPLITS, ClassSplit
from risctl.language.flips import swap_left_right
from risctl.language.head_nouns import plural
from risctl.language.location_phrases import RULE_WORDS
from risctl.language.tokens import words_of
from risctl.language.vocabulary import PAD, PAD_ID, UNK, UNK_ID, Vocabulary
from risctl.language.word_lists import read_word_list
from risctl.language.word_vectors import WordVectors
from risctl.recipe.schema import Recipe
from risctl.systems.mini.config import MiniModel
from risctl.systems.zsi.config import ZSIModel

_NAMED = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheredVocabulary:
    """vectors: float32 (words, dim), None where they are learned; note: what to tell about them; without: the words

    that were looked for and have no vector.
    """

    vocabulary: Vocabulary
    vectors: np.ndarray | None
    note: str
    without: tuple[str, ...] = ()


def gather_vocabulary(
    recipe: Recipe, store: Store, *, also: Sequence[Store] = (), before: Vocabulary | None = None
) -> GatheredVocabulary:
    """Return the vocabulary that `recipe` is to be trained with on `store` and the stores `also`.

    Learned embeddings can only know the words of the training split. Read vectors know more: the words of all splits
    and the most frequent `text.extra_words` of the vectors join, so that the checkpoint predicts on new texts unaided.
    Byte pairs know every text. before: the vocabulary of the checkpoint that the training begins with: its words join,
    its byte pairs are those to use. Raises `RecipeError` if the vectors have another width than the recipe says or lack
    a class that ZSI is to learn, and what reading vectors or byte pairs raises.
    """
    data, text = recipe.data, recipe.model.text
    if isinstance(recipe.model, MiniModel):
        return _of_questions(recipe, (store, *also), before)
    if text.tokens is not None:
        if isinstance(before, BytePairs):
            return GatheredVocabulary(
                vocabulary=before, vectors=None, note=f"words: the {len(before)} byte pairs of the checkpoint"
            )
        pairs = BytePairs.load(text.tokens)
        return GatheredVocabulary(
            vocabulary=pairs, vectors=None, note=f"words: the {len(pairs)} byte pairs of {text.tokens}"
        )
    stores = (store, *also)
    texts = [one for each in stores for one in each.texts(data.train_split, data.text_field)]
    known = () if before is None or isinstance(before, BytePairs) else before.words[UNK_ID + 1 :]
    mirrored: list[str] = []
    if data.augment is not None and data.augment.flip:
        # "right" comes up in training even if the split only ever says "left".
        mirrored = sorted({word for one in texts for word in words_of(swap_left_right(one))})
    if text.vectors is None:
        vocabulary = Vocabulary.from_texts(texts, extra=(*mirrored, *known))
        note = (
            f"words: learned embeddings over the training vocabulary, {len(vocabulary)} words of {data.train_split!r}"
        )
        return GatheredVocabulary(vocabulary=vocabulary, vectors=None, note=note)
    others = sorted({word for each in stores for one in each.texts("all", data.text_field) for word in words_of(one)})
    first, names, helping = _of_classes(recipe)
    classes = (*names, *helping)
    needed = (*first, *others, *mirrored, *classes, *known)
    source = WordVectors.open(text.vectors, needed=needed, first=text.extra_words, dim=text.dim)
    if source.dim != text.dim:
        raise RecipeError(f"model.text.dim is {text.dim}, but the vectors of {text.vectors} have {source.dim} numbers")
    extra = (*mirrored, *others, *classes, *_background(source), *known, *source.words[: text.extra_words])
    frequent = Vocabulary.from_texts(texts, extra=extra)
    vocabulary = Vocabulary((*first, *frequent.words[UNK_ID + 1 :]))
    vectors, found = source.lookup(vocabulary.words, whole=isinstance(recipe.model, ZSIModel))
    vectors[[PAD_ID, UNK_ID]] = 0.0
    lacking = {word for word, there in zip(vocabulary.words, found, strict=True) if not there} - {PAD, UNK}
    if isinstance(recipe.model, ZSIModel) and (nameless := without_vector(SPLITS[recipe.model.split], lacking)):
        raise RecipeError(
            f"{len(nameless)} classes of split {recipe.model.split} have no vector in {text.vectors}, such as "
            f"{nameless[0]!r}; set model.text.vectors to a file that has them"
        )
    without = tuple(word for word in vocabulary.words if word in lacking and (word in first or word not in helping))
    named = ": " + ", ".join(without[:_NAMED]) + (", …" if len(without) > _NAMED else "") if without else ""
    note = (
        f"words: vectors of {text.vectors}, {len(vocabulary)} words, {len(without)} of them without a vector (zeros)"
        f"{named}"
    )
    return GatheredVocabulary(vocabulary=vocabulary, vectors=vectors, note=note, without=without)


def _of_questions(recipe: Recipe, stores: Sequence[Store], before: Vocabulary | None) -> GatheredVocabulary:
    """Return the words that come up at least twice in the store and in the questions, and their mirror images."""
    if before is not None:
        return GatheredVocabulary(
            vocabulary=before, vectors=None, note=f"words: {len(before)}, those of the checkpoint"
        )
    data = recipe.data
    texts = [one for each in stores for one in each.texts(data.train_split, data.text_field)]
    for file in data.box_grounding.files:
        texts.extend(one.text for one in read_questions(Path(file), classes=len(CLASSES)))
    counts = Counter(word for one in texts for word in set(split_words(one)))
    frequent = {word for word, count in counts.items() if count > 1} | lexicon_words()
    mirrored = {word for one in frequent for word in split_words(swap_left_right(one))}
    vocabulary = Vocabulary(sorted(frequent | mirrored))
    return GatheredVocabulary(
        vocabulary=vocabulary, vectors=None, note=f"words: {len(vocabulary)} known ones, others by their letters"
    )


def class_words(split: ClassSplit) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words of a split's class names, and those that help beside them and may lack a vector: of places,

    plurals, names of several words as one, and COCO's other classes, of which background is a mean, too.
    """
    names = (*split.seen, *split.unseen)
    several = [plural(name).split()[-1] for name in names]
    whole = [name.replace(" ", "_") for name in CLASSES.values() if " " in name]
    own = tuple(" ".join(names).split())
    others = [word for name in CLASSES.values() for word in name.split()]
    return own, tuple(word for word in (*RULE_WORDS, *several, *whole, *others) if word not in own)


def _background(source: WordVectors) -> tuple[str, ...]:
    """Return the background's word, where the vectors are a matrix of classes that has it."""
    return (BACKGROUND,) if BACKGROUND in source.words else ()


def without_vector(split: ClassSplit, lacking: Collection[str]) -> list[str]:
    """Return the classes of which neither the name nor any word has a vector."""
    return [
        name
        for name in (*split.seen, *split.unseen)
        if name.replace(" ", "_") in lacking and all(word in lacking for word in name.split())
    ]


def _of_classes(recipe: Recipe) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the words that come first in the vocabulary, and what `class_words` gives; none but for ZSI.

    Raises `RecipeError` if the file of the first ones has another number of words than the recipe says.
    """
    model = recipe.model
    if not isinstance(model, ZSIModel):
        return (), (), ()
    names, helping = class_words(SPLITS[model.split])
    if model.text.vocabulary is None:
        return (), names, helping
    first = read_word_list(Path(model.text.vocabulary))
    if len(first) != model.vocabulary_words:
        raise RecipeError(
            f"model.vocabulary_words is {model.vocabulary_words:,}, "
            f"but {model.text.vocabulary} has {len(first):,} words"
        )
    return first, names, helping
