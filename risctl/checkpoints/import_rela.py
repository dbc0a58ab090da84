"""Imports published ReLA weights as a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from risctl.checkpoints.checkpoint import checked_output, save_checkpoint
from risctl.errors import UsageError
from risctl.language.wordpiece import read_wordpiece
from risctl.recipe.load import parse_recipe
from risctl.systems.registry import build_system
from risctl.systems.rela.published import read_rela, rela_model, rela_state
from risctl.weights.skeleton import build_skeleton
from risctl.weights.tensor_checks import check_finite, check_kinds

TOKENIZER = "bert-base-uncased"
"""The tokenizer of every published checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedReLA:
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


def import_rela(source: Path, out: Path, *, tokenizer: str = TOKENIZER) -> ImportedReLA:
    """Writes a checkpoint of a published ReLA, with Swin or ResNet.

    Args:
        source: The published file.
        out: The checkpoint to write.
        tokenizer: BERT's tokenizer, a vocab.txt, a folder or a hub id; the checkpoint then holds it.

    Raises:
        CheckpointError: The file is of another model; unknown and missing keys are named.
        UsageError: The tokenizer has another size.
    """
    checked_output(out)
    published = read_rela(source)
    section = rela_model(published, source=source)
    section["text"]["tokens"] = tokenizer
    tokens = read_wordpiece(tokenizer)
    words = len(published["text_encoder.embeddings.word_embeddings.weight"])
    if len(tokens) != words:
        raise UsageError(f"expected a tokenizer of {words} tokens, as {source} has; {tokenizer} has {len(tokens)}")
    recipe = parse_recipe(
        {
            "name": "rela-imported",
            "description": f"ReLA {section['visual']['name']}, published weights",
            "model": section,
            "data": {"store": "data/grefcoco_unc.h5", "text_field": "raw"},
            "train": {"epochs": 1},
            "eval": {"protocol": "rela"},
        },
        source="the imported model",
    )
    build = partial(build_system, recipe.model, vocabulary=tokens, pretrained=False)
    skeleton = build_skeleton(build, tensors=len(published), source=source)
    state = rela_state(published, skeleton.state_dict(), source=source)
    check_kinds(state, skeleton.state_dict(), source=source)
    check_finite(state.items(), source=source)
    system = build()
    system.load_state_dict(rela_state(published, system.state_dict(), source=source))
    save_checkpoint(out, system=system, recipe=recipe, vocabulary=tokens, extra={"imported_from": source.name})
    count = sum(parameter.numel() for parameter in system.parameters())
    return ImportedReLA(path=out, model=section, tokens=len(tokens), parameters=count)
