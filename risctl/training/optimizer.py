"""Optimizers: parameter groups, and their state as tensors named after the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from risctl.errors import CheckpointError, RecipeError, nearest
from risctl.recipe.schema import OptimSection
from risctl.training.sharding import placed_like


def build_optimizer(system: nn.Module, optim: OptimSection) -> Optimizer:
    """Returns the optimizer of the trainable parameters of `system`.

    Each group has a `multiplier` of the learning rate: that of the longest prefix in `optim.multipliers` that the
    parameter's name begins with. With `adamw`, parameters of one dimension (norms, biases) do not decay unless
    `optim.decay_all`, nor do those of `optim.undecayed`. Those of `optim.excluded` take no gradient from here on.

    Raises:
        RecipeError: A prefix or part is in no parameter's name, or nothing is trainable.
    """
    names = [name for name, _ in system.named_parameters()]
    for option, prefixes in (("multipliers", tuple(optim.multipliers)), ("excluded", optim.excluded)):
        lost = [prefix for prefix in prefixes if not any(name.startswith(prefix) for name in names)]
        if lost:
            raise RecipeError(
                f"optim.{option}: no parameter's name begins so",
                problems=[f"{prefix!r}; nearest: {_nearest_prefix(prefix, names)!r}" for prefix in lost],
            )
    # Some may be of another backbone, such as its tables of positions; all of them are not.
    if optim.undecayed and not any(part in name for part in optim.undecayed for name in names):
        raise RecipeError(f"optim.undecayed: no parameter's name has {', '.join(map(repr, optim.undecayed))} in it")
    for name, parameter in system.named_parameters():
        if name.startswith(optim.excluded):
            parameter.requires_grad_(False)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in system.named_parameters():
        if parameter.requires_grad:
            spared = optim.name == "adamw" and parameter.ndim < 2 and not optim.decay_all
            spared = spared or any(part in name for part in optim.undecayed)
            decay = 0.0 if spared else optim.weight_decay
            groups.setdefault((_multiplier(name, optim.multipliers), decay), []).append(parameter)
    if not groups:
        raise RecipeError("nothing to train: every parameter of the model is frozen")
    described = [
        {"params": parameters, "lr": optim.lr * multiplier, "weight_decay": decay, "multiplier": multiplier}
        for (multiplier, decay), parameters in groups.items()
    ]
    if optim.name == "sgd":
        return torch.optim.SGD(described, lr=optim.lr, momentum=optim.momentum)
    kind = torch.optim.AdamW if optim.name == "adamw" else torch.optim.Adam
    return kind(described, lr=optim.lr, betas=optim.betas, eps=optim.eps)


def set_rate(optimizer: Optimizer, rate: float, *, multiplied: bool = True) -> None:
    """Sets the learning rate of every group to `rate`, times its multiplier unless `multiplied` is False."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["multiplier"] if multiplied else rate


def optimizer_tensors(optimizer: Optimizer, system: nn.Module) -> dict[str, Tensor]:
    """Returns the state of `optimizer`, `{"<entry> <parameter>": tensor}`: `exp_avg head.weight` for instance."""
    state = {}
    for name, parameter in _optimized(optimizer, system):
        for entry, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                state[f"{entry} {name}"] = value if isinstance(value, Tensor) else torch.tensor(value)
    return state


def load_optimizer(optimizer: Optimizer, system: nn.Module, tensors: Mapping[str, Tensor], *, source: Path) -> None:
    """Restores the state that `optimizer_tensors` gave.

    Raises:
        CheckpointError: It is another model's.
    """
    named = dict(_optimized(optimizer, system))
    for key, tensor in tensors.items():
        entry, _, name = key.partition(" ")
        if name not in named or (tensor.ndim and tensor.shape != named[name].shape):
            raise CheckpointError(f"{source} holds {entry} of {name!r}, which this model does not train in that shape")
        # The count of steps stays on the CPU, as torch's own optimizers keep it.
        own = tensor.clone() if tensor.ndim == 0 else placed_like(tensor, named[name])
        optimizer.state[named[name]][entry] = own


def _optimized(optimizer: Optimizer, system: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    own = {parameter for group in optimizer.param_groups for parameter in group["params"]}
    return ((name, parameter) for name, parameter in system.named_parameters() if parameter in own)


def _multiplier(name: str, multipliers: Mapping[str, float]) -> float:
    prefixes = [prefix for prefix in multipliers if name.startswith(prefix)]
    return multipliers[max(prefixes, key=len)] if prefixes else 1.0


def _nearest_prefix(prefix: str, names: list[str]) -> str | None:
    parts = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}
    return nearest(prefix, sorted(parts))
