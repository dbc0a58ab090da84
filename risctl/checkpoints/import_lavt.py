"""Imports published LAVT and LAVT-One weights as a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from risctl.checkpoints.checkpoint import checked_output, save_checkpoint
from risctl.core.encoders.load_weights import check_state
from risctl.errors import UsageError
from risctl.language.wordpiece import read_wordpiece
from risctl.recipe.load import parse_recipe
from risctl.systems.lavt.published import lavt_model, lavt_state, read_lavt
from risctl.systems.registry import build_system
from risctl.weights.skeleton import build_skeleton, without_initial_values

TOKENS = "bert-base-uncased"
"""The tokenizer of every published checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedLAVT:
    """What was written.

    Attributes:
        path: The checkpoint.
        model: The recipe's `model` section.
        tokens: How many tokens the tokenizer has.
        parameters: How many parameters the model has.
        one: Whether the file was LAVT-One's.
    """

    path: Path
    model: dict[str, Any]
    tokens: int
    parameters: int
    one: bool


def import_lavt(
    source: Path, out: Path, *, tokens: str = TOKENS, heads: tuple[int, ...] | None = None, input_size: int = 480
) -> ImportedLAVT:
    """Writes a checkpoint of a published LAVT or LAVT-One with Swin-T, -S, -B or -L, window 7 or 12.

    Args:
        source: The published file.
        out: The checkpoint to write.
        tokens: BERT's tokenizer, a vocab.txt, folder or hub id; the checkpoint then holds it.
        heads: The attention heads of the four stages; None: as the file's training arguments say, else 1.
        input_size: Side of the input in pixels.

    Raises:
        CheckpointError: The file is of another model; unknown and missing keys are named.
        UsageError: The tokenizer has another size.
    """
    checked_output(out)
    published = read_lavt(source)
    section = lavt_model(published, source=source, heads=heads, input_size=input_size)
    section["text"]["tokens"] = tokens
    vocabulary = read_wordpiece(tokens)
    words = len(published.state["text_encoder.embeddings.word_embeddings.weight"])
    if len(vocabulary) != words:
        raise UsageError(f"expected a tokenizer of {words} tokens, as {source} has; {tokens} has {len(vocabulary)}")
    recipe = parse_recipe(
        {
            "name": "lavt-imported",
            "description": f"LAVT{'-One' if published.one else ''} {section['visual']['name']}, published weights",
            "model": section,
            "data": {"store": "data/refcoco_unc.h5", "text_field": "raw"},
            "train": {"epochs": 1},
            "eval": {"protocol": "lavt"},
        },
        source="the imported model",
    )
    build = partial(build_system, recipe.model, vocabulary=vocabulary, pretrained=False)
    skeleton = build_skeleton(build, tensors=len(published.state), source=source)
    state = lavt_state(published, skeleton.state_dict(), source=source)
    with without_initial_values():
        system = build()
    state = lavt_state(published, system.state_dict(), source=source)
    check_state(system, state, source=str(source))
    system.load_state_dict(state)
    save_checkpoint(out, system=system, recipe=recipe, vocabulary=vocabulary, extra={"imported_from": source.name})
    count = sum(parameter.numel() for parameter in system.parameters())
    return ImportedLAVT(path=out, model=section, tokens=len(vocabulary), parameters=count, one=published.one)
