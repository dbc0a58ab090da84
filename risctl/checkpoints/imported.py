"""Builds a published model, fills it with its tensors and writes it as a checkpoint, for the importers of systems."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.core.encoders.load_weights import check_state
from risctl.errors import UsageError
from risctl.recipe.load import parse_recipe
from risctl.systems.registry import build_system
from risctl.weights.skeleton import build_skeleton, without_initial_values


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedSystem:
    """What was written.

    Attributes:
        path: The checkpoint.
        title: The model in words, such as "CRIS clip_resnet50".
        model: The recipe's `model` section.
        tokens: How many tokens the tokenizer has.
        parameters: How many parameters the model has.
    """

    path: Path
    title: str
    model: dict[str, Any]
    tokens: int
    parameters: int

    def to_dict(self) -> dict[str, Any]:
        """Returns it, ready for JSON."""
        return {
            "path": str(self.path),
            "model": self.model,
            "tokens": self.tokens,
            "parameters": self.parameters,
        }


def check_tokenizer(tokens: Sized, *, expected: int, name: str, source: Path) -> None:
    """Raises `UsageError` if the tokenizer called `name` has another size than the one of the file `source`."""
    if len(tokens) != expected:
        raise UsageError(f"expected a tokenizer of {expected} tokens, as {source} has; {name} has {len(tokens)}")


def save_imported(
    source: Path,
    out: Path,
    *,
    title: str,
    model: dict[str, Any],
    vocabulary: Any,
    tensors: int,
    state_of: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
    data: Mapping[str, Any],
    epochs: int = 1,
    new_parts: bool = False,
) -> ImportedSystem:
    """Builds a published model, fills it and writes it as a checkpoint.

    It is built without numbers first, so that a file of another model is refused before memory is taken for it.

    Args:
        source: The published file.
        out: The checkpoint to write.
        title: The model in words.
        model: The recipe's `model` section.
        vocabulary: The tokenizer; the checkpoint then holds it.
        tensors: How many tensors the file has.
        state_of: Returns the published tensors by our names, given the state of the model that they are for.
        data: The recipe's `data` section.
        epochs: The epochs of the recipe, which nothing but further training reads.
        new_parts: Whether the model has parts that the file lacks; they get initial values, the same each time.

    Raises:
        CheckpointError: The file is of another model, or holds numbers that are not finite.
    """
    recipe = parse_recipe(
        {
            "name": f"{model['system']}-imported",
            "description": f"{title}, published weights",
            "model": model,
            "data": dict(data),
            "train": {"epochs": epochs},
        },
        source="the imported model",
    )
    build = partial(build_system, recipe.model, vocabulary=vocabulary, pretrained=False)
    skeleton = build_skeleton(build, tensors=tensors, source=source)
    check_state(skeleton, state_of(skeleton.state_dict()), source=str(source))
    with torch.random.fork_rng(devices=[]), nullcontext() if new_parts else without_initial_values():
        torch.manual_seed(0)
        system = build()
    # Counters of norms, which a file may lack, stay as they are.
    system.load_state_dict(state_of(system.state_dict()), strict=False)
    save_checkpoint(out, system=system, recipe=recipe, vocabulary=vocabulary, extra={"imported_from": source.name})
    count = sum(parameter.numel() for parameter in system.parameters())
    return ImportedSystem(path=out, title=title, model=model, tokens=len(vocabulary), parameters=count)
