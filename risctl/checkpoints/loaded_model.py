"""Finds a model by its name and rebuilds it from its checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from risctl.checkpoints.checkpoint import MEAN, MODEL, fill, open_checkpoint, recipe_of, vocabulary_of
from risctl.checkpoints.hub_checkpoint import HUB, hub_checkpoint
from risctl.errors import CheckpointError, nearest
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.registry import build_system
from risctl.weights.skeleton import build_skeleton, check_buffers, check_fit, without_initial_values

BEST, LAST = "best.safetensors", "last.safetensors"
SHIPPED_NAME = "mini"
SHIPPED = Path(__file__).resolve().parents[1] / "models" / f"{SHIPPED_NAME}.safetensors"
"""The model that the package comes with. Its weights have half precision and are computed with in float32."""

Value = TypeVar("Value")
Builder = Callable[..., System]
"""`builder(model_section, *, vocabulary, vectors, pretrained) → System`, as `risctl.systems.registry.build_system`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that was rebuilt from its checkpoint.

    Attributes:
        system: The model, on its device and in evaluation mode.
        recipe: The recipe that it was trained with.
        vocabulary: The words or tokens that it knows.
        header: The checkpoint's header.
        path: The checkpoint file.
    """

    system: System
    recipe: Recipe
    vocabulary: Vocabulary
    header: dict[str, Any]
    path: Path


def load_checkpoint(
    model: str | Path | None = None, device: torch.device | str = "cpu", *, build: Builder | None = None
) -> LoadedModel:
    """Rebuilds a model from its checkpoint, with the EMA of the weights where there is one: runs are measured by it.

    Args:
        model: See `resolve_checkpoint`.
        device: The device that the model is moved to.
        build: Builds the model in place of `build_system`.

    Raises:
        CheckpointError: The file is missing, damaged, not risctl's, or written by a newer version.
    """
    path = resolve_checkpoint(model)
    with open_checkpoint(path) as file:
        recipe, vocabulary = recipe_of(file.header, path), vocabulary_of(file.header, path)
        builder = partial(build or build_system, recipe.model, vocabulary=vocabulary, vectors=None, pretrained=False)
        # What the recipe asks for is compared with what the file says it holds before either takes memory.
        layouts = file.layouts((MODEL, MEAN))
        skeleton = build_skeleton(builder, tensors=len(layouts), source=path)
        for last in (MODEL, MEAN):
            check_fit(skeleton.state_dict(), _by_parameter(layouts, last=last), source=path)
        check_buffers(skeleton, source=path)
        weights = _by_parameter(file.read((MODEL, MEAN)))
    with without_initial_values():
        system = builder()
    fill(system, weights, source=path)
    return LoadedModel(
        system=system.to(device).eval(), recipe=recipe, vocabulary=vocabulary, header=file.header, path=path
    )


def read_weights(model: str | Path | None) -> tuple[Path, dict[str, Any], dict[str, Tensor]]:
    """Reads a checkpoint's weights without building its model.

    Returns:
        The file, its header, and the weights by parameter: their EMA where the file has one.

    Raises:
        CheckpointError: As `load_checkpoint` raises it.
    """
    path = resolve_checkpoint(model)
    with open_checkpoint(path) as file:
        return path, file.header, _by_parameter(file.read((MODEL, MEAN)))


def _by_parameter(tensors: Mapping[str, Value], *, last: str = MEAN) -> dict[str, Value]:
    """Returns the tensors by parameter; where the file has two of one, that of the group `last`."""
    groups = [prefix for prefix in (MODEL, MEAN) if prefix != last] + [last]
    return {
        name.removeprefix(prefix): tensor
        for prefix in groups
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def resolve_checkpoint(model: str | Path | None) -> Path:
    """Returns the checkpoint file that a name stands for.

    Args:
        model: A checkpoint file; a run folder, which stands for its `best` checkpoint, else its `last`; `hf:OWNER/NAME`
            (or `@REVISION`), a repository of the hub that `risctl push` made; or `mini`, the model that the package
            comes with, which None stands for as well.

    Raises:
        CheckpointError: There is none.
        MachineError: It is neither here nor to be had from the hub.
    """
    path = Path(SHIPPED_NAME if model is None else model)
    if str(path).startswith(HUB) and not path.exists():
        return hub_checkpoint(str(path))
    if model is None or (str(model) == SHIPPED_NAME and not path.exists()):
        if not SHIPPED.is_file():
            raise CheckpointError(f"this copy of risctl lacks its own model, {SHIPPED}; name one with --model")
        return SHIPPED
    if path.is_dir():
        for name in (BEST, LAST):
            if (path / name).is_file():
                return path / name
        raise CheckpointError(f"expected {BEST} or {LAST} in the run folder {path}; found neither")
    if not path.exists():
        hint = f"; did you mean {SHIPPED_NAME!r}?" if nearest(str(model), [SHIPPED_NAME]) else ""
        raise CheckpointError(
            f"no run folder or checkpoint file at {path}{hint}; `risctl train` makes one, `risctl models ls` "
            "lists others"
        )
    return path
