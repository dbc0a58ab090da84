"""Lets the processes of a training find each other, each on its device."""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from risctl.devices import pick_device
from risctl.errors import MachineError, UsageError
from risctl.threads import keep_threads
from risctl.training.lost_device import lost_device
from risctl.training.run_folder import RunFolder

_PRECISIONS = {"fp32": "no", "fp16": "fp16", "bf16": "bf16"}


def device_of_run(name: str, run: RunFolder | None) -> torch.device:
    """Returns a device by name; on the CPU, a run that has begun computes with as many threads as it did before."""
    device = pick_device(name)
    threads = None if run is None else run.threads()
    if threads is not None and device.type == "cpu":
        keep_threads(threads)
    return device


def start_first(device: str) -> None:
    """Lets several processes find each other before anything is read, so that what one of them lacks ends all."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        start_processes(pick_device(device), "fp32")


def start_processes(device: torch.device, precision: str) -> Accelerator:
    """Lets the processes that `torchrun` or `accelerate launch` started find each other; one alone needs none.

    Raises:
        UsageError: The device is one GPU by its number.
        MachineError: The device has no such precision.
    """
    if device.index is not None:
        raise UsageError(f"training takes cuda, not {device}; choose a GPU with the variable CUDA_VISIBLE_DEVICES")
    if precision == "fp16" and device.type == "cpu":
        raise MachineError("train.precision=fp16 needs a GPU; on a CPU take fp32 or bf16")
    # accelerate keeps one state a process; a second training in a notebook may want another device or precision, and
    # another stage another precision.
    AcceleratorState._reset_state(reset_partial_state=int(os.environ.get("WORLD_SIZE", "1")) == 1)
    # The other processes wait while the first evaluates, which may take hours.
    patience = InitProcessGroupKwargs(timeout=timedelta(hours=12))
    # A loss may leave a part of the model out, another part with each batch.
    parts = DistributedDataParallelKwargs(find_unused_parameters=True)
    try:
        return Accelerator(
            cpu=device.type == "cpu", mixed_precision=_PRECISIONS[precision], kwargs_handlers=[patience, parts]
        )
    except RuntimeError as error:
        if lost_device(error, saved="") is None:
            raise
        raise MachineError(f"the processes do not find each other: {str(error).strip():.200}") from error
