"""Shuffles and loads training items, the same whatever the number of workers and wherever a run was resumed.

Nothing here keeps a random state: the order of an epoch depends only on (seed, epoch), an item only on (seed, epoch,
index). A sampler yields keys (epoch, index), so that loader processes need not be told the epoch and live on between
epochs.
"""

from __future__ import annotations

import signal
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from risctl.data.batch import Batch, collate
from risctl.errors import RisctlError, UsageError

T = TypeVar("T")

Key = tuple[int, int]
"""(epoch, index): which item, as it is in which epoch."""

# First entry of the seed of an epoch's order; the datasets' own streams have others.
_ORDER_STREAM = 1
_SORTED_BATCHES = 16  # batches whose items are sorted by length


class KeyedDataset(Dataset[T | RisctlError]):
    """Base of datasets whose items are fetched by a key, or by a plain index in the current epoch.

    Subclasses must pickle: each loader process has its own copy.
    """

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of items that are fetched by a plain index."""
        self.epoch = epoch

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def item(self, epoch: int, index: int) -> T:
        """Returns item `index` as it is in `epoch`. Raises `RisctlError` if it cannot be provided."""

    def __getitem__(self, key: int | Key) -> T | RisctlError:
        """Returns the item of a key, or its error in its place.

        Raised in a worker, an error's message would be lost in the worker's traceback; `batches` raises it instead.
        """
        epoch, index = key if isinstance(key, tuple) else (self.epoch, key)
        try:
            return self.item(epoch, index)
        except RisctlError as error:
            return error


class EpochSampler:
    """A batch sampler that shuffles the keys of one epoch."""

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        last_batch: Literal["drop", "wrap"] = "drop",
        lengths: np.ndarray | None = None,
    ) -> None:
        """Creates the sampler.

        Args:
            length: Number of items.
            batch_size: Items per batch and process.
            seed: Seed of the order.
            rank: This process, from 0.
            world: Number of processes; each gets its own `batch_size` keys of every global batch.
            accumulate: Global batches per optimizer step.
            last_batch: `drop` leaves out the items that fill no whole step; `wrap` fills the last step with the first
                items of the epoch.
            lengths: Length of each item, int (length,). Items of similar length are then batched together, so that
                little of a batch is padding.

        Raises:
            UsageError: The items fill no single step and are not wrapped around.
        """
        self.length = length
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        per_step = batch_size * world * accumulate
        self._last_batch = last_batch
        steps = length // per_step if last_batch == "drop" else -(-length // per_step)
        self._batches = steps * accumulate
        if self._batches == 0:
            raise UsageError(
                f"one step needs {per_step} samples (data.batch_size={batch_size} x {world} processes x "
                f"optim.accumulate={accumulate}) and there are {length}; set data.batch_size={max(1, length)} or less"
            )
        self._skip = 0

    def __len__(self) -> int:
        """Returns the number of batches of an epoch, skipped ones included."""
        return self._batches

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next pass, which starts with its first batch."""
        self.epoch = epoch
        self._skip = 0

    def skip(self, batches: int) -> None:
        """Skips the first `batches` of the next pass: how a resumed run continues in the middle of an epoch."""
        self._skip = batches

    def __iter__(self) -> Iterator[list[Key]]:
        order = self._order(np.random.default_rng((_ORDER_STREAM, self.seed, self.epoch)))
        order = np.resize(order, self._batches * self.batch_size * self.world)  # repeats the first items, or cuts
        for batch in range(self._skip, self._batches):
            start = (batch * self.world + self.rank) * self.batch_size
            yield [(self.epoch, int(index)) for index in order[start : start + self.batch_size]]

    def _order(self, generator: np.random.Generator) -> np.ndarray:
        order = generator.permutation(self.length)
        if self.lengths is None:
            return order
        group = self.batch_size * self.world
        whole = self.length // group * group
        for start in range(0, whole, group * _SORTED_BATCHES):
            chunk = order[start : min(start + group * _SORTED_BATCHES, whole)]
            batches = chunk[np.argsort(self.lengths[chunk], kind="stable")].reshape(-1, group)
            order[start : start + chunk.size] = generator.permutation(batches).reshape(-1)
        return order


def make_loader(
    dataset: Dataset[Any],
    sampler: EpochSampler,
    *,
    workers: int,
    pin: bool = False,
    start_method: str | None = None,
) -> DataLoader[Batch]:
    """Returns a loader whose batches are to be read through `batches`.

    Args:
        dataset: Items by key; its `collate` function, if it has one, replaces `risctl.data.batch.collate`.
        sampler: The order of the keys.
        workers: Number of loader processes, 0 to load in this one.
        pin: Whether batches go to page-locked memory, for CUDA.
        start_method: "fork", "spawn" or "forkserver", None for the platform's default.
    """
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=partial(_collate, into=getattr(dataset, "collate", collate)),
        pin_memory=pin,
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker,
        multiprocessing_context=start_method if workers else None,
        # The loader draws a seed for its workers: not from torch's global state, which the model's dropout draws from.
        generator=torch.Generator().manual_seed(0),
    )


def batches(loader: DataLoader[Batch]) -> Iterator[Batch]:
    """Yields the batches of one pass. Raises the `RisctlError` of an item that could not be loaded."""
    for batch in loader:
        if isinstance(batch, RisctlError):
            raise batch
        yield batch


def _collate(items: Sequence[Any], *, into: Callable[[Sequence[Any]], Batch]) -> Batch | RisctlError:
    error = next((item for item in items if isinstance(item, RisctlError)), None)
    return into(items) if error is None else error


def _start_worker(_: int) -> None:
    # Ctrl-C reaches the whole process group. The trainer finishes its step first and then ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
