"""Where to compute, and how repeatably."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from risctl.errors import MachineError, UsageError, unknown_name

DEVICES = ("auto", "cpu", "cuda", "mps")


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; `auto` takes CUDA, else MPS, else the CPU. `cuda:1` names one of several.

    Raises `UsageError` for an unknown name, `MachineError` if the machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in DEVICES[1:] or (number and not number.isdigit()):
        raise UsageError(unknown_name("device", name, DEVICES))
    if kind == "cuda" and not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no usable GPU"
        raise MachineError(f"no CUDA device: {why}; `risctl doctor` says more, --device cpu computes without")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise MachineError(f"no device {name}: this machine has {torch.cuda.device_count()} CUDA devices, from cuda:0")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise MachineError("no MPS device: it takes macOS on Apple silicon; --device cpu computes without")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Return what to call `device` in a log, for instance `cuda (NVIDIA H100)`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


@contextmanager
def determinism(wanted: bool) -> Iterator[None]:
    """Prefer the deterministic form of every operation within the block; as it was before afterwards."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    debugging: Any = torch.utils.deterministic
    fill, benchmark = debugging.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    if wanted:
        # cuBLAS reads this when it starts; without it, it may sum in another order each time.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Some operations have no deterministic form: they warn, which beats a run that cannot be made at all.
    torch.use_deterministic_algorithms(wanted, warn_only=True)
    # Filling every new tensor is a debugging aid that costs time.
    debugging.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = not wanted
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        debugging.fill_uninitialized_memory = fill
        torch.backends.cudnn.benchmark = benchmark
