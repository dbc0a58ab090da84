"""Selects the device to compute on, and deterministic operations."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from risctl.errors import MachineError, UsageError, unknown_name
from risctl.threads import choose_threads

DEVICES = ("auto", "cpu", "cuda", "mps")


def pick_device(name: str = "auto") -> torch.device:
    """Returns a device by name. For the CPU, the number of threads is chosen too: see `choose_threads`.

    Args:
        name: `cpu`, `cuda`, `mps`, one of several GPUs such as `cuda:1`, or `auto`: CUDA, else MPS, else the CPU.

    Raises:
        UsageError: The name is unknown.
        MachineError: The machine has no such device.
    """
    device = _device(name)
    if device.type == "cpu":
        choose_threads()
    return device


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind not in DEVICES[1:] or (number and not number.isdigit()):
        raise UsageError(unknown_name("device", name, DEVICES))
    if kind == "cuda" and not torch.cuda.is_available():
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no usable GPU"
        raise MachineError(f"no CUDA device: {why}; see `risctl doctor`, or use --device cpu")
    if kind == "cuda" and number and int(number) >= torch.cuda.device_count():
        raise MachineError(f"no device {name}: this machine has {torch.cuda.device_count()} CUDA devices, from cuda:0")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise MachineError("no MPS device: it needs macOS on Apple silicon; use --device cpu")
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """Returns the name of a device for logs, for instance `cuda (NVIDIA H100)`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def memory_mib(device: torch.device) -> float | None:
    """Returns the most memory that this process has had so far, in MiB: of a GPU, else of the machine, if it tells."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(most / (2**20 if sys.platform == "darwin" else 2**10), 1)


@contextmanager
def determinism(enabled: bool) -> Iterator[None]:
    """Prefers deterministic operations within the block if `enabled`, and restores the settings afterwards."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    debugging: Any = torch.utils.deterministic
    fill, benchmark = debugging.fill_uninitialized_memory, torch.backends.cudnn.benchmark
    if enabled:
        # cuBLAS reads this when it starts; without it, it may sum in another order each time.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Some operations have no deterministic form: they warn, which beats a run that cannot be made at all.
    torch.use_deterministic_algorithms(enabled, warn_only=True)
    # Filling every new tensor is a debugging aid that costs time.
    debugging.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = not enabled
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        debugging.fill_uninitialized_memory = fill
        torch.backends.cudnn.benchmark = benchmark
