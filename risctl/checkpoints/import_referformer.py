"""Imports published ReferFormer weights as a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from risctl.checkpoints.checkpoint import checked_output, save_checkpoint
from risctl.errors import UsageError
from risctl.language.byte_pairs import BytePairs
from risctl.recipe.load import parse_recipe
from risctl.systems.referformer.published import read_referformer, referformer_model, referformer_state
from risctl.systems.registry import build_system
from risctl.weights.skeleton import build_skeleton
from risctl.weights.tensor_checks import check_finite, check_kinds

TOKENIZER = "roberta-base"
"""The tokenizer of every published checkpoint."""

_A2D_LONGEST = 640
_A2D_WINDOW = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedReferFormer:
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


def import_referformer(
    source: Path, out: Path, *, tokenizer: str = TOKENIZER, new_classes: bool = False, a2d: bool = False
) -> ImportedReferFormer:
    """Writes a checkpoint of a published ReferFormer with any of its nine backbones.

    Args:
        source: The published file.
        out: The checkpoint to write.
        tokenizer: RoBERTa's tokenizer, a folder or hub id; the checkpoint then holds it.
        new_classes: Whether it begins with one new class output, for fine-tuning after the pretraining with many.
        a2d: Whether it predicts as for A2D-Sentences: longest side 640, the centre frame of a clip alone, which a video
            backbone sees with two frames on either side.

    Raises:
        CheckpointError: The file is of another model; unknown and missing keys are named.
        UsageError: The tokenizer has another size.
    """
    checked_output(out)
    published = read_referformer(source)
    section = referformer_model(published, source=source)
    if new_classes:
        section["classes"] = 1
    if a2d:
        section |= {"centre_only": True, "longest_side": _A2D_LONGEST, "input_multiple": 32, "mask_resize": "nearest"}
        section["window"] = _A2D_WINDOW if section["visual"]["name"].startswith("video_") else 1
    section["text"]["tokens"] = tokenizer
    pairs = BytePairs.load(tokenizer)
    words = len(published["text_encoder.embeddings.word_embeddings.weight"])
    if len(pairs) != words:
        raise UsageError(f"expected a tokenizer of {words} tokens, as {source} has; {tokenizer} has {len(pairs)}")
    recipe = parse_recipe(
        {
            "name": "referformer-imported",
            "description": f"ReferFormer {section['visual']['name']}, published weights",
            "model": section,
            "data": {"store": "data/refcoco_unc.h5", "text_field": "raw_lower"},
            "train": {"epochs": 1},
        },
        source="the imported model",
    )
    build = partial(build_system, recipe.model, vocabulary=pairs, pretrained=False)
    skeleton = build_skeleton(build, tensors=len(published), source=source)
    state = referformer_state(published, skeleton.state_dict(), source=source, new_classes=new_classes)
    check_kinds(state, skeleton.state_dict(), source=source)
    check_finite(state.items(), source=source)
    system = build()
    state = referformer_state(published, system.state_dict(), source=source, new_classes=new_classes)
    system.load_state_dict(state)
    save_checkpoint(out, system=system, recipe=recipe, vocabulary=pairs, extra={"imported_from": source.name})
    count = sum(parameter.numel() for parameter in system.parameters())
    return ImportedReferFormer(path=out, model=section, tokens=len(pairs), parameters=count)
