"""Divides a system among processes: each keeps its share of weights, gradients, moments and averages (FSDP2).

A part's weights are whole in every process only while the part computes. What is computed is what replicated training
computes: the same batches, the same losses, gradients that are the mean over the processes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, distribute_tensor

from risctl.distributed import local_of, whole_of
from risctl.errors import RecipeError
from risctl.systems.base import System

_FOREIGN = frozenset({"builtins", "torch", "torchvision", "timm", "transformers", "peft"})
PART = 1_000_000
"""The parameters from which a repeated part, such as a block of a backbone, is gathered and let go on its own."""


class ShardedSystem:
    """A system whose parameters are divided among the processes.

    Args:
        learning: The module that is trained, on its device; its parameters are divided in place.
        system: The system within it.
        device: The kind of device of all processes, `cpu` or `cuda`.
        processes: How many processes there are.
        part: Parameters from which a part is divided on its own; None: `PART`.

    Attributes:
        system: The system, whose tensors are distributed ones from here on.
        parts: How many parts are gathered on their own.

    Raises:
        RecipeError: The system cannot be divided.
    """

    def __init__(
        self, learning: nn.Module, *, system: System, device: str, processes: int, part: int | None = None
    ) -> None:
        from torch.distributed.fsdp import fully_shard

        if system.parts_vary:
            raise RecipeError(
                "train.parallel=fsdp: which parts of the model learn depends on the batch, so that processes would "
                "wait for each other's gradients; take train.parallel=ddp"
            )
        scalars = [name for name, one in system.named_parameters() if one.ndim == 0]
        if scalars:
            raise RecipeError(
                f"train.parallel=fsdp: {scalars[0]} is a single number, which cannot be divided; take "
                "train.parallel=ddp"
            )
        self.system = system
        self._whole = _without_parameters(copy.deepcopy(system))
        mesh = init_device_mesh(device, (processes,))
        repeated = _repeated(system, PART if part is None else part)
        for module in repeated:
            fully_shard(module, mesh=mesh)
        fully_shard(learning, mesh=mesh)
        self.parts = len(repeated) + 1

    @contextmanager
    def whole(self) -> Iterator[System]:
        """Yields the system with whole weights, as plain tensors, in every process. All processes must enter it."""
        tensors = {name: whole_of(tensor.detach()) for name, tensor in self.system.state_dict().items()}
        self._whole.load_state_dict(tensors, assign=True)
        del tensors
        self._whole.train(self.system.training)
        try:
            yield self._whole
        finally:
            _without_parameters(self._whole)

    def describe(self) -> str:
        """Returns what each process keeps, for a line of the log."""
        parameters = list(self.system.parameters())
        own = sum(local_of(one).numel() for one in parameters)
        total = sum(one.numel() for one in parameters)
        return (
            f"sharded (fsdp): this process keeps {own:,} of {total:,} parameters, with their gradients and moments; "
            f"{self.parts} part{'s' if self.parts > 1 else ''} gathered at a time"
        )


def placed_like(tensor: Tensor, other: Tensor) -> Tensor:
    """Returns a copy of a whole tensor on the device of another, divided as that is. All processes must call it."""
    if isinstance(other, DTensor):
        return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements)
    return tensor.to(other.device, copy=True)


def loaded_like(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Copies whole tensors into those of the same names, which may be divided. All processes must call it."""
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(placed_like(tensors[name], tensor))


def _repeated(system: nn.Module, part: int) -> list[nn.Module]:
    """Returns the modules of lists and sequences that have `part` parameters or more, inner ones first."""
    found: dict[int, nn.Module] = {}
    for module in system.modules():
        if isinstance(module, nn.ModuleList | nn.Sequential):
            for one in module.children():
                if _is_called(one):
                    found[id(one)] = one
    shared = _shared(system)
    large = []
    for one in found.values():
        parameters = list(one.parameters())
        if sum(each.numel() for each in parameters) >= part and not any(id(each) in shared for each in parameters):
            large.append(one)
    return large[::-1]


def _is_called(module: nn.Module) -> bool:
    """Returns whether a module computes by its forward pass alone, before which its weights are gathered."""
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        return False
    own = [kind for kind in type(module).__mro__ if kind.__module__.partition(".")[0] not in _FOREIGN]
    methods = {name for kind in own for name, value in vars(kind).items() if isinstance(value, FunctionType)}
    return all(name.startswith("_") or name in ("forward", "train") for name in methods)


def _shared(system: nn.Module) -> set[int]:
    """Returns the ids of the parameters that two modules have; they stay with the whole."""
    seen: set[int] = set()
    twice: set[int] = set()
    for module in system.modules():
        for parameter in module.parameters(recurse=False):
            (twice if id(parameter) in seen else seen).add(id(parameter))
    return twice


def _without_parameters(system: System) -> System:
    """Lets go of a system's parameters, in place; its buffers stay."""
    for module in system.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            empty = nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad)
            module._parameters[name] = empty
    return system
