"""Published weights to files of ours: what `risctl import` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.core.encoders.load_weights import load_state
from risctl.core.encoders.visual.darknet53_weights import read_darknet53
from risctl.core.encoders.visual.deeplab_weights import read_deeplab
from risctl.data.store.reader import Store
from risctl.errors import CheckpointError, UsageError
from risctl.files import replacing
from risctl.language.tokens import words_of
from risctl.language.vocabulary import Vocabulary
from risctl.language.word_vectors import WordVectors
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.registry import build_system
from risctl.systems.vlt.published import vlt_model, vlt_state
from risctl.weights.keras_h5 import read_keras_weights

PUBLISHED_VECTORS = "en_vectors_web_lg"
"""The spaCy model whose vectors the published VLT was trained with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What was written. words: how many the checkpoint knows; parameters: of the model, norm statistics aside."""

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
) -> Imported:
    """Write the checkpoint `out` of a published VLT (Keras h5).

    The file holds no word vectors: the checkpoint takes those of `vectors` for their `extra_words` most frequent words
    and for all words of the store `data`; without `vectors` it knows no word. queries: how many are expected, None to
    take what the file has. Raises `CheckpointError` for a file of another model, `UsageError` for other queries or
    vectors of another width, and what reading vectors raises.
    """
    arrays = read_keras_weights(source)
    section = vlt_model(arrays, source=source)
    if queries is not None and queries != section["queries"]:
        raise UsageError(f"expected {queries} queries, but {source} has {section['queries']}; leave --queries out")
    section["max_words"] = max_words
    section["text"]["vectors"] = vectors or PUBLISHED_VECTORS
    vocabulary, table = _words(vectors, extra_words=extra_words, data=data, dim=section["text"]["dim"])
    recipe = _recipe(section, data)
    system = build_system(recipe.model, vocabulary=vocabulary, vectors=table, pretrained=False)
    state = vlt_state(arrays, source=source)
    own = system.state_dict()
    embedding = {name: own[name] for name in own if name.startswith("text.embedding.")}
    load_state(system, state | embedding, source=str(source))
    save_checkpoint(
        _checked(out), system=system, recipe=recipe, vocabulary=vocabulary, extra={"imported_from": source.name}
    )
    parameters = sum(parameter.numel() for parameter in system.parameters())
    return Imported(path=out, model=section, words=len(vocabulary) - 2, parameters=parameters)


def import_darknet53(source: Path, out: Path) -> int:
    """Write the backbone `out` (safetensors) of Darknet-53 weights (`.weights` or Keras h5) and return how many
    numbers.

    A recipe names the file as `model.visual.weights`. Raises `CheckpointError` for a file of another network.
    """
    state = read_darknet53(source)
    with replacing(_checked(out)) as beside:
        save_file(state, beside, metadata={"imported_from": source.name, "backbone": "darknet53"})
    return sum(values.numel() for values in state.values())


def import_deeplab(source: Path, out: Path) -> int:
    """Write the backbone `out` (safetensors) of DeepLab v2's ResNet-101 and return how many numbers it has.

    source: as `deeplab_weights.read_deeplab` takes it. A recipe names the file as `model.visual.weights` of the
    backbone `deeplab_resnet101`. Raises `CheckpointError` for a file of another network.
    """
    state = read_deeplab(source)
    with replacing(_checked(out)) as beside:
        save_file(state, beside, metadata={"imported_from": source.name, "backbone": "deeplab_resnet101"})
    return sum(values.numel() for values in state.values())


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


def _checked(out: Path) -> Path:
    if out.suffix != ".safetensors":
        raise UsageError(f"expected an output that ends in .safetensors, got {out}")
    if out.is_dir():
        raise CheckpointError(f"expected a file to write, got the folder {out}")
    return out
