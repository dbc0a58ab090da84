"""Lets the processes of a run agree: on what they train, and on leaving it at the same step.

They leave together whichever of them was told to stop or has failed.
"""

from __future__ import annotations

import torch
from accelerate import Accelerator

from risctl import __version__
from risctl.distributed import gather
from risctl.errors import UsageError
from risctl.interrupts import Interrupts
from risctl.recipe.schema import Recipe
from risctl.training.resumption import differences


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


def check_agreement(recipe: Recipe) -> None:
    """Checks that all processes train the same recipe with the same version of risctl. All processes must call it.

    Raises:
        UsageError: They do not, as where the machines have different copies of a file.
    """
    values = {**recipe.model_dump(mode="json"), "risctl": __version__}
    told = gather(values)
    for rank, others in enumerate(told):
        if others != told[0]:
            differing = sorted(differences(told[0], others))
            raise UsageError(
                f"the processes disagree: process {rank} has another {', '.join(differing[:8])} than process 0; give "
                "all machines the same recipe, changes and version of risctl"
            )
