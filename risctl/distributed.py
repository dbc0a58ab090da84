"""Sharing work out among processes, and gathering what each found: nothing is done twice or padded in.

The processes are those of torch.distributed, which accelerate sets up; without them there is one, which does all.
"""

from __future__ import annotations

from typing import TypeVar

from torch import distributed

T = TypeVar("T")


def place() -> tuple[int, int]:
    """Return (rank, world): which of how many processes this is."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def gathered(own: T) -> list[T]:
    """Return what every process has, in the order of their ranks, the same in each. All processes must call it."""
    _, world = place()
    if world == 1:
        return [own]
    parts: list[T | None] = [None] * world
    distributed.all_gather_object(parts, own)
    return [part for part in parts if part is not None]
