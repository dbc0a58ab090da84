"""Imports a published ZSI checkpoint, with the word vectors that it lacks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from risctl.checkpoints.checkpoint import checked_output, save_checkpoint
from risctl.core.encoders.load_weights import check_state, load_state
from risctl.errors import CheckpointError, UsageError
from risctl.language.class_vectors import read_matrix
from risctl.language.class_words import class_words
from risctl.language.coco_classes import SPLITS
from risctl.language.vocabulary import PAD_ID, UNK_ID, Vocabulary
from risctl.language.word_lists import read_word_list
from risctl.language.word_vectors import WordVectors
from risctl.recipe.load import parse_recipe
from risctl.systems.registry import build_system
from risctl.systems.zsi.published import read_zsi, zsi_model, zsi_state
from risctl.weights.skeleton import build_skeleton, without_initial_values

_OURS = ("box_head.vocabulary", "text.vectors", "unseen")
"""What no published file needs to hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedZSI:
    """What was written.

    Attributes:
        path: The checkpoint.
        model: The recipe's `model` section.
        words: How many words the model can detect by.
        missing: Words of the vocabulary that have no vector.
        parameters: How many parameters the model has.
    """

    path: Path
    model: dict[str, Any]
    words: int
    missing: tuple[str, ...]
    parameters: int


def import_zsi(
    source: Path,
    out: Path,
    *,
    split: str,
    vocabulary: str,
    words: Path | None = None,
    class_vectors: Path | None = None,
    extra_words: int = 20_000,
) -> ImportedZSI:
    """Writes a checkpoint of a published ZSI (`.pth`).

    No published file holds the vocabulary matrix: it is made of word vectors. A word without a vector has zeros and
    takes no part; the checkpoint's header lists such words, as `without_vector`.

    Args:
        source: The published file.
        out: The checkpoint to write.
        split: The split of COCO's classes that the file must be of.
        vocabulary: The word vectors.
        words: The list of the vocabulary's words, one a line; without it, all words of `vocabulary`, if they are as
            many as the published model expects.
        class_vectors: The published matrix of the split's class vectors (one column per class after background's);
            without it, unseen classes have the vectors of `vocabulary`, at the published length.
        extra_words: How many of the most frequent words of `vocabulary` the model can detect by as well.

    Raises:
        CheckpointError: The file is of another model.
        UsageError: The split or the number of words differs.
        DataError: Lists or vectors cannot be read.
    """
    checked_output(out)
    published = read_zsi(source)
    section = zsi_model(published, source=str(source))
    if section["split"] != split:
        raise UsageError(
            f"expected split {split}, but {source} is of {section['split']}; pass --split {section['split']}"
        )
    section["text"]["vectors"] = vocabulary
    dim, count = section["text"]["dim"], section["vocabulary_words"]
    classes = (*SPLITS[split].seen, *SPLITS[split].unseen)
    names, helping = class_words(SPLITS[split])
    listed = None if words is None else read_word_list(words)
    needed = None if listed is None else (*listed, *names, *helping)
    vectors = WordVectors.open(vocabulary, needed=needed, first=extra_words, dim=dim)
    listed = vectors.words if listed is None else listed
    if len(listed) != count:
        hint = "" if words else "; name the list of the published ones with --words"
        raise UsageError(f"{source} compares with {count:,} words, got {len(listed):,} in {words or vocabulary}{hint}")
    if vectors.dim != dim:
        raise UsageError(f"expected word vectors of {dim} numbers, got {vectors.dim} in {vocabulary}")
    known = Vocabulary((*listed, *names, *helping, *vectors.words[:extra_words]))
    table, found = vectors.lookup(known.words, whole=True)
    table[[PAD_ID, UNK_ID]] = 0.0
    recipe = parse_recipe(
        {
            "name": f"zsi-{split.replace('_', '-')}-imported",
            "description": "ZSI, published weights",
            "model": section,
            "data": {"store": f"data/coco_zsi_{split}.h5"},
            "train": {"epochs": 12},
        },
        source="the imported model",
    )
    build = partial(build_system, recipe.model, vocabulary=known, pretrained=False)
    given = zsi_state(published, source=str(source))
    skeleton = build_skeleton(build, tensors=len(given), source=source)
    check_state(skeleton, given, source=str(source), absent=_OURS)
    with without_initial_values():
        system = build(vectors=table)
    own = system.state_dict()
    state = {name: own[name] for name in _OURS} | given
    if class_vectors is not None:
        state["unseen"] = _unseen(class_vectors, classes=len(classes), seen=len(SPLITS[split].seen), dim=dim)
    state["text.vectors"] = _with_classes(state["text.vectors"], known, classes, state)
    load_state(system, state, source=str(source))
    without = [word for word, there in zip(known.words[2:], found[2:], strict=True) if not there]
    missing = tuple(word for word in without if word in listed or word not in helping)
    extra = {"imported_from": source.name, "without_vector": list(missing)}
    save_checkpoint(out, system=system, recipe=recipe, vocabulary=known, extra=extra)
    return ImportedZSI(
        path=out,
        model=section,
        words=len(known) - 2 - len(without),
        missing=missing,
        parameters=sum(parameter.numel() for parameter in system.parameters()),
    )


def _unseen(path: Path, *, classes: int, seen: int, dim: int) -> Tensor:
    """Returns the vectors (U + 1, dim) of background and the unseen classes of a matrix (dim, classes + 1) as text."""
    matrix = read_matrix(path)
    if matrix.shape != (dim, classes + 1):
        raise CheckpointError(
            f"expected class vectors of {dim} lines with {classes + 1} numbers in {path}, got {matrix.shape}"
        )
    return torch.from_numpy(np.concatenate([matrix[:, :1], matrix[:, seen + 1 :]], 1).T.copy())


def _with_classes(vectors: Tensor, known: Vocabulary, classes: tuple[str, ...], state: dict[str, Tensor]) -> Tensor:
    """Returns word vectors in which a class of one word has the vector that was trained with."""
    vectors = vectors.clone()
    places = {word: number for number, word in enumerate(known.words)}
    for name, vector in zip(classes, torch.cat([state["seen"][1:], state["unseen"][1:]]), strict=True):
        if name in places:
            vectors[places[name]] = vector
    return vectors
