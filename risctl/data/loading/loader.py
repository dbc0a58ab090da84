"""Shuffles and loads training items, the same whatever the number of workers and wherever a run was resumed.

Nothing here keeps a random state: the order of an epoch depends only on (seed, epoch), an item only on (seed, epoch,
index). A sampler yields keys (epoch, index), so that loader processes need not be told the epoch and live on between
epochs.
"""

from __future__ import annotations

import signal
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import active_children
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from risctl.data.batch import Batch, SkippedImage, collate
from risctl.errors import RisctlError, UnreadableImageError, UsageError, WorkerKilledError

T = TypeVar("T")

Key = tuple[int, ...]
"""(epoch, index): which item, as it is in which epoch; (epoch, index, first): with the image of item `first`."""

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

    def item_sharing(self, epoch: int, index: int, *, first: int) -> T:
        """Returns item `index` with its image as item `first`, which has the same, has it in `epoch`.

        Raises:
            RisctlError: It cannot be provided.
        """
        raise NotImplementedError(f"{type(self).__name__} has no images that items share")

    def __getitem__(self, key: int | Key) -> T | RisctlError:
        """Returns the item of a key, or its error in its place.

        Raised in a worker, an error's message would be lost in the worker's traceback; `batches` raises it instead.
        """
        epoch, index, *first = key if isinstance(key, tuple) else (self.epoch, key)
        try:
            return self.item_sharing(epoch, index, first=first[0]) if first else self.item(epoch, index)
        except RisctlError as error:
            return error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Substitute:
    """An item in the place of another whose image could not be read."""

    item: Any
    skipped: tuple[SkippedImage, ...]


class SkippingDataset(KeyedDataset[Any]):
    """Gives an item whose image cannot be read the next one that can, in the order of the dataset.

    Which one that is, and how it is augmented, depends on (epoch, index) alone, so neither on the number of loader
    processes nor on where a run was resumed.
    """

    def __init__(self, dataset: KeyedDataset[Any], *, max_count: int) -> None:
        """Wraps `dataset`; more than `max_count` images that cannot be read in a row are an error."""
        self.dataset = dataset
        self.max_count = max_count
        if hasattr(dataset, "collate"):
            self.collate = dataset.collate

    def __len__(self) -> int:
        return len(self.dataset)

    def item(self, epoch: int, index: int) -> Any:
        """Returns item `index` as it is in `epoch`, or the one that stands for it."""
        return self._readable(epoch, index, partial(self.dataset.item, epoch, index))

    def item_sharing(self, epoch: int, index: int, *, first: int) -> Any:
        """Returns item `index` with the image of item `first`, or the one that stands for it, with its own."""
        return self._readable(epoch, index, partial(self.dataset.item_sharing, epoch, index, first=first))

    def _readable(self, epoch: int, index: int, own: Callable[[], Any]) -> Any:
        skipped: dict[str, SkippedImage] = {}
        for further in range(len(self)):
            try:
                item = own() if not further else self.dataset.item(epoch, (index + further) % len(self))
            except UnreadableImageError as error:
                skipped.setdefault(error.image, SkippedImage(image=error.image, problem=str(error)))
                if len(skipped) > self.max_count or further == len(self) - 1:
                    raise
                continue
            return _Substitute(item=item, skipped=tuple(skipped.values())) if skipped else item
        raise IndexError(index)


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
        kinds: np.ndarray | None = None,
        images: np.ndarray | None = None,
        per_image: int = 1,
        ordered_as: int | None = None,
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
            kinds: Kind of each item, int (length,). The items of a batch are then of one kind, and the first items of
                each kind fill its last step, as mmdetection 1's `DistributedGroupSampler` does.
            images: The image of each item, int (length,). Up to `per_image` items of one image then follow each other,
                drawn from an image's items anew in each epoch, and keys say whose image they share.
            per_image: Items of an image that follow each other.
            ordered_as: The batch size by which the order of lengths and kinds is made, so that a run keeps it when
                other processes go on with it; None: this one. The number of processes plays no part.

        Raises:
            UsageError: The items fill no single step and are not wrapped around.
        """
        self.length = length
        self.lengths = lengths
        self.kinds = kinds
        self.images = images
        self.per_image = per_image
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        per_step = batch_size * world * accumulate
        self._ordered_as = batch_size if ordered_as is None else ordered_as
        self._last_batch = last_batch
        self._per_step = per_step
        steps = length // per_step if last_batch == "drop" else -(-length // per_step)
        if kinds is not None:
            steps = sum(-(-int(count) // per_step) for count in np.unique(kinds, return_counts=True)[1])
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
        generator = np.random.default_rng((_ORDER_STREAM, self.seed, self.epoch))
        order, first = generator.permutation(self.length), None
        if self.images is not None:
            order, first = _runs_of_images(order, self.images, self.per_image, generator)
        order = self._grouped(order, generator)
        order = np.resize(order, self._batches * self.batch_size * self.world)  # repeats the first items, or cuts
        for batch in range(self._skip, self._batches):
            start = (batch * self.world + self.rank) * self.batch_size
            own = order[start : start + self.batch_size].tolist()
            yield [(self.epoch, index) if first is None else (self.epoch, index, int(first[index])) for index in own]

    def _grouped(self, order: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if self.kinds is not None:
            return self._batches_of_a_kind(order, generator)
        if self.lengths is None:
            return order
        group = self._ordered_as
        whole = self.length // group * group
        for start in range(0, whole, group * _SORTED_BATCHES):
            chunk = order[start : min(start + group * _SORTED_BATCHES, whole)]
            batches = chunk[np.argsort(self.lengths[chunk], kind="stable")].reshape(-1, group)
            order[start : start + chunk.size] = generator.permutation(batches).reshape(-1)
        return order

    def _batches_of_a_kind(self, order: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Returns whole batches of one kind each, in a random order."""
        assert self.kinds is not None
        parts = []
        for kind in np.unique(self.kinds):
            own = order[self.kinds[order] == kind]
            parts.append(np.resize(own, -(-len(own) // self._per_step) * self._per_step))
        batches = np.concatenate(parts).reshape(-1, self._ordered_as)
        return generator.permutation(batches).reshape(-1)


def _runs_of_images(
    order: np.ndarray, images: np.ndarray, per_image: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns items so that up to `per_image` of an image follow each other, and of each item the first of its run.

    Which items of an image come together follows from their place in `order`, int (length,).
    """
    order = order[np.argsort(images[order], kind="stable")]
    _, counts = np.unique(images, return_counts=True)
    within = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)  # the place in its image's items
    starts = np.flatnonzero(within % per_image == 0)
    runs = np.split(order, starts[1:])
    first = np.empty_like(order)
    first[order] = np.repeat(order[starts], [len(run) for run in runs])
    return np.concatenate([runs[number] for number in generator.permutation(len(runs))]), first


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


def batches(loader: DataLoader[T | RisctlError] | DataLoader[T]) -> Iterator[T]:
    """Yields what a loader loads in one pass.

    Raises:
        RisctlError: That of an item which could not be loaded.
        WorkerKilledError: A loader process was killed.
    """
    iterator = None
    while True:
        try:
            if iterator is None:
                iterator = _started(loader)
            loaded = next(iterator)
        except StopIteration:
            return
        except (RuntimeError, OSError, EOFError) as error:
            # A worker's last item may have been on its way, so that its death shows as many an error.
            if killed := _ended(_PROCESSES.get(loader, ())):
                raise WorkerKilledError(_told(killed[0].exitcode)) from error
            raise
        if isinstance(loaded, RisctlError):
            raise loaded
        yield loaded


def _ended(processes: Sequence[BaseProcess]) -> list[BaseProcess]:
    # The pipes of a killed process close a moment before it can be waited for.
    closed = wait([process.sentinel for process in processes], timeout=1.0) if processes else []
    for process in processes:
        if process.sentinel in closed:
            process.join(timeout=10.0)
    return [process for process in processes if not process.is_alive()]


# The processes of each loader. They live on between passes where they are persistent.
_PROCESSES: WeakKeyDictionary[Any, tuple[BaseProcess, ...]] = WeakKeyDictionary()


def _started(loader: Any) -> Iterator[Any]:
    """Begins a pass without the handler that torch installs with it.

    At the death of a worker that handler raises wherever the main thread is, be it in the middle of an update or of a
    save. Without it the death is noticed within seconds where the next batch is waited for.
    """
    before = set(active_children())
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGCHLD) if in_main and hasattr(signal, "SIGCHLD") else None
    try:
        iterator = iter(loader)
    finally:
        if handler is not None:
            signal.signal(signal.SIGCHLD, handler)
    if begun := tuple(process for process in active_children() if process not in before):
        _PROCESSES[loader] = begun
    return iterator


def _told(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"a loader process ended by itself (exit code {exit_code}); see its message above"
    hints = {
        "SIGKILL": "often for want of memory: take fewer workers or smaller batches",
        "SIGBUS": "often for want of shared memory (/dev/shm): take fewer workers",
    }
    name = signal.Signals(-exit_code).name
    return f"a loader process was killed ({name}{', ' if name in hints else ''}{hints.get(name, '')})"


def _collate(items: Sequence[Any], *, into: Callable[[Sequence[Any]], Batch]) -> Batch | RisctlError:
    error = next((item for item in items if isinstance(item, RisctlError)), None)
    if error is not None:
        return error
    skipped = {one.image: one for item in items if isinstance(item, _Substitute) for one in item.skipped}
    batch = into([item.item if isinstance(item, _Substitute) else item for item in items])
    return replace(batch, skipped=tuple(skipped.values())) if skipped else batch


def _start_worker(_: int) -> None:
    # Ctrl-C reaches the whole process group. The trainer finishes its step first and then ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
