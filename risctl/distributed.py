"""Divides work among processes and gathers their results, without duplicates or padding.

The processes are those of torch.distributed, which accelerate sets up; without them there is a single one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from torch import Tensor, distributed

T = TypeVar("T")

TOLD_BY_ANOTHER = "told_by_another"
"""The attribute of an error that another process has raised and tells a person of."""


def rank_and_world_size() -> tuple[int, int]:
    """Returns the rank of this process and the number of processes."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def local_of(tensor: Tensor) -> Tensor:
    """Returns the share that this process has of a tensor that is divided among processes; another tensor itself."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def whole_of(tensor: Tensor) -> Tensor:
    """Returns a tensor that may be divided among processes whole. All processes must call it."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


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


@contextmanager
def failing_together() -> Iterator[None]:
    """Raises in all processes, after the block, what the block raises in one of them; the first rank's, if in several.

    A process that left alone would leave the others waiting for it. All processes must enter the block, in which none
    may wait for another; at its end each waits for all.
    """
    error: Exception | None = None
    try:
        yield
    except Exception as caught:
        if rank_and_world_size()[1] == 1:
            raise
        error = caught
    raise_together(error)


def raise_together(error: Exception | None) -> None:
    """Raises the first error that a process has, if any has one, in all processes. All processes must call it.

    Args:
        error: That of this process, if it has one. Errors of this package, and of the system, are raised as they are;
            of others the others learn the text alone, for they may not fit through a pipe.
    """
    rank, _ = rank_and_world_size()
    told = error
    if error is not None and not (type(error).__module__.startswith("risctl.") or type(error) is OSError):
        told = RuntimeError(f"{type(error).__name__} in process {rank}: {error}")
    first = next(iter(gather((rank, told) if told is not None else None)), None)
    if first is not None:
        if error is not None and first[0] == rank:
            raise error
        setattr(first[1], TOLD_BY_ANOTHER, True)
        raise first[1]
