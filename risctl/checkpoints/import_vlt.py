"""Imports published VLT weights as a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from risctl.checkpoints.checkpoint import checked_output, save_checkpoint
from risctl.core.encoders.load_weights import check_state, load_state
from risctl.data.store.reader import Store
from risctl.errors import UsageError
from risctl.language.tokens import words_of
from risctl.language.vocabulary import Vocabulary
from risctl.language.word_vectors import WordVectors
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.registry import build_system
from risctl.systems.vlt.published import vlt_model, vlt_state
from risctl.weights.keras_h5 import read_keras_weights
from risctl.weights.skeleton import build_skeleton, without_initial_values

PUBLISHED_VECTORS = "en_vectors_web_lg"
"""The spaCy model whose vectors the published VLT was trained with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedVLT:
    """What was written.

    Attributes:
        path: The checkpoint.
        model: The recipe's `model` section.
        words: How many words the checkpoint knows.
        parameters: How many parameters the model has, norm statistics aside.
    """

    path: Path
    model: dict[str, Any]
    words: int
    parameters: int


def import_vlt(
    source: Path,
    out: Path,
    *,
    queries: int | None = None,
    max_words: int = 15,
    vectors: str | None = None,
    extra_words: int = 50_000,
    data: Path | None = None,
) -> ImportedVLT:
    """Writes a checkpoint of a published VLT (Keras h5).

    The published file holds no word vectors.

    Args:
        source: The published file.
        out: The checkpoint to write.
        queries: How many queries are expected; None takes what the file has.
        max_words: The longest expression that is read, in words.
        vectors: The word vectors to take; without them the checkpoint knows no word.
        extra_words: How many of the most frequent words of `vectors` the checkpoint knows.
        data: A store, all words of which the checkpoint knows as well.

    Raises:
        CheckpointError: The file is of another model.
        UsageError: The file has other queries, or the vectors another width.
    """
    arrays = read_keras_weights(source)
    section = vlt_model(arrays, source=source)
    if queries is not None and queries != section["queries"]:
        raise UsageError(f"expected {queries} queries, but {source} has {section['queries']}; leave --queries out")
    section["max_words"] = max_words
    section["text"]["vectors"] = vectors or PUBLISHED_VECTORS
    vocabulary, table = _words(vectors, extra_words=extra_words, data=data, dim=section["text"]["dim"])
    recipe = _recipe(section, data)
    build = partial(build_system, recipe.model, vocabulary=vocabulary, vectors=table, pretrained=False)
    state = vlt_state(arrays, source=source)
    skeleton = build_skeleton(build, tensors=len(state), source=source)
    check_state(skeleton, state, source=str(source), absent=("text.embedding.",))
    with without_initial_values():
        system = build()
    own = system.state_dict()
    embedding = {name: own[name] for name in own if name.startswith("text.embedding.")}
    load_state(system, state | embedding, source=str(source))
    save_checkpoint(
        checked_output(out), system=system, recipe=recipe, vocabulary=vocabulary, extra={"imported_from": source.name}
    )
    parameters = sum(parameter.numel() for parameter in system.parameters())
    return ImportedVLT(path=out, model=section, words=len(vocabulary) - 2, parameters=parameters)


def _words(
    vectors: str | None, *, extra_words: int, data: Path | None, dim: int
) -> tuple[Vocabulary, np.ndarray | None]:
    needed: list[str] = []
    if data is not None:
        with Store(data) as store:
            needed = sorted({word for text in store.texts("all", "sent") for word in words_of(text)})
    if vectors is None:
        return Vocabulary(needed), None
    source = WordVectors.open(vectors, needed=needed, first=extra_words, dim=dim)
    if source.dim != dim:
        raise UsageError(f"expected word vectors of {dim} numbers, got {source.dim} in {vectors}")
    known = [word for word, found in zip(needed, source.lookup(needed)[1], strict=True) if found]
    vocabulary = Vocabulary((*known, *source.words[:extra_words]))
    return vocabulary, source.lookup(vocabulary.words)[0]


def _recipe(section: dict[str, Any], data: Path | None) -> Recipe:
    return parse_recipe(
        {
            "name": "vlt-imported",
            "description": "VLT, published weights",
            "model": section,
            "data": {"store": str(data or "data/refcoco_unc.h5")},
            "train": {"epochs": 50},
            "eval": {"protocol": "mcn"},
        },
        source="the imported model",
    )
