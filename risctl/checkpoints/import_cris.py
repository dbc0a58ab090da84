"""Imports published CRIS weights as a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from risctl.checkpoints.checkpoint import checked_output, save_checkpoint
from risctl.core.encoders.load_weights import check_state, load_state
from risctl.errors import UsageError
from risctl.language.clip_vocabulary import ClipVocabulary
from risctl.recipe.load import parse_recipe
from risctl.systems.cris.published import cris_model, cris_state, read_cris
from risctl.systems.registry import build_system
from risctl.weights.skeleton import build_skeleton, without_initial_values

TOKENIZER = "openai/clip-vit-base-patch32"
"""The tokenizer of every published CLIP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedCRIS:
    """What was written.

    Attributes:
        path: The checkpoint.
        model: The recipe's `model` section.
        tokens: How many tokens the tokenizer has.
        parameters: How many parameters the model has.
    """

    path: Path
    model: dict[str, Any]
    tokens: int
    parameters: int


def import_cris(
    source: Path, out: Path, *, tokenizer: str = TOKENIZER, max_words: int = 17, input_size: int = 416
) -> ImportedCRIS:
    """Writes a checkpoint of a published CRIS with any of CLIP's ResNets.

    Args:
        source: The published file (.pth).
        out: The checkpoint to write.
        tokenizer: CLIP's tokenizer: OpenAI's merges file, a folder, or a hub id; the checkpoint then holds it.
        max_words: Tokens after which an expression is truncated, start and end included, which the file does not tell:
            17 for RefCOCO and RefCOCO+, 22 for RefCOCOg.
        input_size: Side of the input in pixels, which the file does not tell either.

    Raises:
        CheckpointError: The file is of another model; unknown and missing keys are named.
        UsageError: The tokenizer has another size.
    """
    checked_output(out)
    published = read_cris(source)
    section = cris_model(published, source=source) | {"input_size": input_size, "max_words": max_words}
    section["text"]["tokens"] = tokenizer
    vocabulary = ClipVocabulary.load(tokenizer)
    words = len(published["backbone.token_embedding.weight"]) if "backbone.token_embedding.weight" in published else 0
    if len(vocabulary) != words:
        raise UsageError(f"expected a tokenizer of {words} tokens, as {source} has; {tokenizer} has {len(vocabulary)}")
    recipe = parse_recipe(
        {
            "name": "cris-imported",
            "description": f"CRIS {section['visual']['name']}, published weights",
            "model": section,
            "data": {"store": "data/refcoco_unc.h5"},
            "train": {"epochs": 50},
        },
        source="the imported model",
    )
    state = cris_state(published)
    build = partial(build_system, recipe.model, vocabulary=vocabulary, pretrained=False)
    check_state(build_skeleton(build, tensors=len(state), source=source), state, source=str(source))
    with without_initial_values():
        system = build()
    load_state(system, state, source=str(source))
    save_checkpoint(out, system=system, recipe=recipe, vocabulary=vocabulary, extra={"imported_from": source.name})
    count = sum(parameter.numel() for parameter in system.parameters())
    return ImportedCRIS(path=out, model=section, tokens=len(vocabulary), parameters=count)
