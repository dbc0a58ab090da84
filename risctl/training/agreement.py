"""Lets the processes of a run leave it together: at the same step, whichever of them was told to stop or has failed."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from risctl.interrupts import Interrupts


def agreed(interrupts: Interrupts, accelerator: Accelerator, *, failed: bool = False) -> tuple[bool, bool]:
    """Returns whether any process was told to stop, and whether any has failed. All processes must call it.

    `interrupts` may then know of a signal that came while this process waited for the others: it counts next time.

    Args:
        interrupts: The signals that this process got; it learns of those of the others.
        accelerator: The accelerator.
        failed: Whether this process has failed.
    """
    if accelerator.num_processes == 1:
        return interrupts.requested, failed
    flags = torch.tensor([interrupts.requested, interrupts.terminated, failed], dtype=torch.float32)
    told = accelerator.reduce(flags.to(accelerator.device), reduction="sum").tolist()
    stopping, terminated, failed = (value > 0 for value in told)
    if stopping:
        interrupts.requested, interrupts.terminated = True, terminated
    return stopping, failed
