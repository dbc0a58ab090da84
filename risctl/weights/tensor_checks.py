"""Checks what a file holds for a model: names, shapes and kinds of numbers, and that every number is finite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from risctl.errors import CheckpointError

FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})
INTEGERS = frozenset({torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file says of a tensor before it is read.

    Attributes:
        shape: Its shape.
        dtype: Its kind of numbers; None for one that no model of ours has.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype | None


def layouts_of(tensors: Mapping[str, Tensor]) -> dict[str, Layout]:
    """Returns the layouts of tensors by name."""
    return {name: Layout(tuple(one.shape), one.dtype) for name, one in tensors.items()}


def fits_kind(given: torch.dtype | None, own: torch.dtype) -> bool:
    """Returns whether numbers of one kind may fill a tensor of another: floats fill floats, integers integers."""
    return given in FLOATS if own in FLOATS else given in INTEGERS


def kind_problem(name: str, given: torch.dtype | None, own: torch.dtype) -> str:
    """Returns what is wrong with a tensor that `fits_kind` refuses."""
    got = "another type" if given is None else str(given).removeprefix("torch.")
    return f"{name} holds {got}, expected {'floating-point numbers' if own in FLOATS else 'integers'}"


def check_kinds(given: Mapping[str, Tensor], own: Mapping[str, Tensor], *, source: Any) -> None:
    """Raises `CheckpointError` if a tensor of a file holds integers where the model has floats, or the reverse."""
    for name, tensor in given.items():
        if name in own and not fits_kind(tensor.dtype, own[name].dtype):
            raise CheckpointError(f"{source} is of another model: {kind_problem(name, tensor.dtype, own[name].dtype)}")


def all_finite(tensor: Tensor) -> bool:
    """Returns whether a tensor holds neither NaN nor infinity."""
    if not tensor.is_floating_point() or tensor.is_meta:
        return True
    # A sum is finite only if all numbers are, and takes no second tensor; one that overflows is looked at again.
    total = tensor.sum(dtype=torch.float64 if tensor.dtype == torch.float64 else torch.float32)
    return bool(total.isfinite()) or bool(tensor.isfinite().all())


def check_finite(tensors: Iterable[tuple[str, Tensor]], *, source: Any) -> None:
    """Raises `CheckpointError` for the first tensor that holds NaN or infinity; `source` names the file."""
    for name, tensor in tensors:
        if not all_finite(tensor):
            raise CheckpointError(
                f"{source} holds numbers that are not finite (NaN or infinity), first in {name}; take another copy, or "
                f"an earlier save of its training"
            )


def check_plain(tensors: Mapping[str, Tensor], *, source: Any) -> None:
    """Raises `CheckpointError` unless all tensors are dense ones in memory, of floats or integers."""
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            kind = "quantized" if tensor.is_quantized else f"{tensor.layout} on {tensor.device}".replace("torch.", "")
            raise CheckpointError(f"expected plain tensors in {source}, got {name} ({kind})")
        if tensor.dtype not in FLOATS | INTEGERS:
            raise CheckpointError(
                f"expected tensors of floating-point numbers or integers in {source}, got {name} of "
                f"{str(tensor.dtype).removeprefix('torch.')}"
            )
