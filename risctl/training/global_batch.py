"""Divides the samples of a step among the processes; a resumed run keeps its steps with another number of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from risctl.errors import UsageError
from risctl.recipe.schema import Recipe

_MOST_NAMED = 33


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalBatch:
    """How the samples of a step are divided.

    Attributes:
        batch_size: Samples of a batch.
        accumulate: Batches of each process per step.
        processes: How many processes there are.
        began_with: How many the run began with, whose `data.batch_size * optim.accumulate * began_with` samples a
            step always has.
    """

    batch_size: int
    accumulate: int
    processes: int
    began_with: int

    @property
    def samples(self) -> int:
        """Samples of a step."""
        return self.batch_size * self.accumulate * self.processes

    def note(self, recipe: Recipe) -> str | None:
        """Returns what to log if there are other processes than at the beginning; None otherwise."""
        if self.processes == self.began_with:
            return None
        start = (
            f"processes: {self.processes} in place of {self.began_with}; every step keeps its {self.samples} samples, "
            f"now {self.accumulate} of {self.batch_size} in each process"
        )
        if self.batch_size != recipe.data.batch_size:
            return (
                f"{start}. No longer bit-identical to a run with {self.began_with}: batches are smaller, which changes "
                "the statistics of batch norms, means over a batch, and the random numbers of dropout"
            )
        return (
            f"{start}. Batches and the random numbers of dropout stay as they were; no longer bit-identical to a run "
            f"with {self.began_with} are the running statistics of batch norms, and gradients of more than two batches "
            "a step, whose sums round differently"
        )


def global_batch(recipe: Recipe, *, processes: int, position: Mapping[str, Any] | None = None) -> GlobalBatch:
    """Returns how the samples of a step are divided.

    Args:
        recipe: The recipe.
        processes: How many processes there are.
        position: Where a resumed run stands, as its save has it; None: it begins.

    Raises:
        UsageError: The samples of a step of the resumed run cannot be divided among so many.
    """
    began_with = processes if position is None else _count(position.get("processes"), processes)
    size, batches = recipe.data.batch_size, recipe.optim.accumulate * began_with
    divisors = [parts for parts in range(1, size + 1) if size % parts == 0]
    for parts in divisors:
        if batches * parts % processes == 0:
            return GlobalBatch(
                batch_size=size // parts,
                accumulate=batches * parts // processes,
                processes=processes,
                began_with=began_with,
            )
    able = [count for count in range(1, _MOST_NAMED) if any(batches * parts % count == 0 for parts in divisors)]
    raise UsageError(
        f"the run has {size * batches} samples a step, from {began_with} process{'es' if began_with > 1 else ''}, "
        f"which cannot be divided evenly among {processes}; take {', '.join(map(str, able))} processes"
    )


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 20 else otherwise
