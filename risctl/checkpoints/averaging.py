"""Averages the weights of several checkpoints of one model (Wortsman et al., "Model soups", ICML 2022).

The average is worth something where the weights lie in one basin: saves of one run, or runs that began with the same
weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.loaded_model import Builder, LoadedModel, load_checkpoint
from risctl.data.download.mirrors import sha256_of
from risctl.errors import CheckpointError, UsageError

_KEPT = ("dataset", "protocol", "without_vector")
"""Entries of the first checkpoint's header that hold for the average as well; step and figures do not."""


def average_checkpoints(
    models: Sequence[str | Path], *, out: Path, shares: Sequence[float] | None = None, build: Builder | None = None
) -> LoadedModel:
    """Averages checkpoints and writes the result, which predicts as any other; it cannot be resumed.

    Args:
        models: Checkpoints as `load_checkpoint` takes them; of a run that keeps one, the EMA is averaged.
        out: The file to write.
        shares: How much each counts, numbers of 0 or more; their sum is made 1. None: all alike.
        build: Builds the models in place of `build_system`.

    Returns:
        The average, in memory.

    Raises:
        UsageError: There are fewer than two checkpoints, or the shares do not fit them.
        CheckpointError: One cannot be read, or they are of different models or recipes.
    """
    weights = _normalised(shares, count=len(models))
    first = load_checkpoint(models[0], build=build)
    paths = [first.path]
    mean = {name: _share(tensor, weights[0]) for name, tensor in first.system.state_dict().items()}
    alike = {name: tensor.clone() for name, tensor in first.system.state_dict().items()}
    for model, weight in zip(models[1:], weights[1:], strict=True):
        other = load_checkpoint(model, build=build)
        check_alike(first, other)
        for name, tensor in other.system.state_dict().items():
            if name in alike and not torch.equal(alike[name], tensor):
                del alike[name]
            mean[name] += _share(tensor, weight)
        paths.append(other.path)
    own = first.system.state_dict()
    # What all have alike, such as frozen layers, stays as it is, bit for bit.
    first.system.load_state_dict({name: alike.get(name, _as(value, own[name])) for name, value in mean.items()})
    averaged = [
        {"file": path.name, "sha256": sha256_of(path), "share": weight}
        for path, weight in zip(paths, weights, strict=True)
    ]
    extra: dict[str, Any] = {name: first.header[name] for name in _KEPT if name in first.header}
    save_checkpoint(
        out,
        system=first.system,
        recipe=first.recipe,
        vocabulary=first.vocabulary,
        extra={**extra, "averaged": averaged},
    )
    return replace(first, path=out)


def check_alike(first: LoadedModel, other: LoadedModel) -> None:
    """Checks that two models are one but for their weights.

    Raises:
        CheckpointError: Their systems, words or shapes differ.
    """
    refused = f"{other.path} is of another model than {first.path}, so their weights cannot be averaged: "
    if first.vocabulary.to_list() != other.vocabulary.to_list():
        raise CheckpointError(f"{refused}they have different words")
    sections = [one.recipe.model.model_dump(mode="json") for one in (first, other)]
    if differing := sorted(key for key in {*sections[0], *sections[1]} if sections[0].get(key) != sections[1].get(key)):
        raise CheckpointError(f"{refused}their recipes differ in {', '.join(f'model.{key}' for key in differing)}")
    shapes = [{name: tensor.shape for name, tensor in one.system.state_dict().items()} for one in (first, other)]
    if shapes[0] != shapes[1]:
        raise CheckpointError(f"{refused}their tensors have different shapes")


def _share(tensor: Tensor, weight: float) -> Tensor:
    """Returns a share of a tensor in double precision, in which sums of many weights do not drift."""
    return tensor.double() * weight


def _as(value: Tensor, own: Tensor) -> Tensor:
    """Returns `value` in the type of `own`; whole numbers, such as counts of updates, are rounded."""
    return (value if own.is_floating_point() else value.round()).to(own.dtype)


def _normalised(shares: Sequence[float] | None, *, count: int) -> list[float]:
    if count < 2:
        raise UsageError(f"an average takes two checkpoints or more, got {count}")
    if shares is None:
        return [1 / count] * count
    if len(shares) != count:
        raise UsageError(f"expected a share for each of the {count} checkpoints, got {len(shares)}")
    total = math.fsum(shares) if all(math.isfinite(one) and one >= 0 for one in shares) else 0.0
    if not (0 < total < math.inf):
        raise UsageError(f"expected shares of 0 or more, not all 0, got {', '.join(f'{one:g}' for one in shares)}")
    return [one / total for one in shares]
