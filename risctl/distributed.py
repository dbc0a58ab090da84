"""Divides work among processes and gathers their results, without duplicates or padding.

The processes are those of torch.distributed, which accelerate sets up; without them there is a single one.
"""

from __future__ import annotations

from typing import TypeVar

from torch import distributed

T = TypeVar("T")


def rank_and_world_size() -> tuple[int, int]:
    """Returns the rank of this process and the number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def gather(local: T) -> list[T]:
    """Gathers an object from every process. All processes must call it.

    Args:
        local: The object of this process; it must be picklable.

    Returns:
        The objects of all processes in the order of their ranks, the same in every process.
    """
    _, world_size = rank_and_world_size()
    if world_size == 1:
        return [local]
    parts: list[T | None] = [None] * world_size
    distributed.all_gather_object(parts, local)
    return [part for part in parts if part is not None]
