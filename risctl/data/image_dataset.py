"""Samples of a store as training batches, the same whatever the number of workers and wherever a run was resumed.

Nothing here keeps a random state: the order of an epoch depends on (seed, epoch) alone, an item on (seed, epoch, index)
alone. A sampler yields keys (epoch, index), so loader processes need no word of which epoch it is and live on between
epochs.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from risctl.data.batch import Batch, Item, Preprocess, collate
from risctl.data.clips import is_video_store
from risctl.data.features.cached_features import Recall
from risctl.data.records import Sample
from risctl.data.store.reader import Store, TextField
from risctl.data.transforms.augmentations import Changes
from risctl.data.transforms.letterbox import augment, to_item
from risctl.errors import DataError, RisctlError, UsageError
from risctl.language.tokens import words_of

Key = tuple[int, int]
"""(epoch, index): which item, as it is in which epoch."""

# First entry of every seed, so that the order of an epoch and the draws within an item are never the same stream.
_ORDER, _ITEM, _CHANGES = 1, 2, 6


_ALIKE = 16  # batches whose items are sorted by length

_NO_CHANGES = Changes()


@runtime_checkable
class Sizable(Preprocess, Protocol):
    """A `Preprocess` whose inputs keep the picture's shape and can have another size."""

    def sized(self, short: int, *, longest: int | None) -> Preprocess:
        """Return it with a short side of `short`; longest: what the other side may not pass."""


class TrainingSet(Dataset[Item | RisctlError]):
    """The training items of a split. Picklable; the store is opened anew in each process.

    sentences: `random`: an item a ref, with one of its sentences by chance; `all`: an item a sentence; `clips`: of
    pictures as `random`, of videos as many items a sentence as its video has clips. flip: share of items mirrored;
    colour: strength of the colour jitter; changes: what else may be done to a picture; first: what is added to an
    item's index in the seed of its draws. Sentences without a word are left out and counted in `left_out`.
    Raises `DataError` if nothing is left.
    """

    of_videos = False
    features: Recall | None = None
    """What stands for pictures and texts, where it was computed before."""

    def __init__(
        self,
        store: Store,
        split: str,
        preprocess: Preprocess,
        *,
        sentences: Literal["random", "all", "clips"] = "random",
        text_field: TextField = "sent",
        flip: float = 0.0,
        colour: float = 0.0,
        changes: Changes = _NO_CHANGES,
        seed: int = 0,
        first: int = 0,
    ) -> None:
        if is_video_store(store) and not self.of_videos:
            raise DataError(f"{store.path} holds videos: set data.frames to the length of a clip")
        self.store = store
        self.split = split
        self.preprocess = preprocess
        self.text_field: TextField = text_field
        self.flip = flip
        self.colour = colour
        self.changes = changes
        self.seed = seed
        self.first = first
        self.epoch = 0
        rows = [int(row) for row in store.sentences(split)]
        texts = store.texts(split, text_field)
        wordless = {row for row, text in zip(rows, texts, strict=True) if not words_of(text)}
        self.left_out = len(wordless)
        if sentences == "all":
            self._choices: list[tuple[int, ...]] = [(row,) for row in rows if row not in wordless]
        else:
            refs = [[int(row) for row in store.ref(int(ref)).sentences] for ref in store.refs(split)]
            kept = (tuple(row for row in ref if row not in wordless) for ref in refs)
            self._choices = [ref for ref in kept if ref]
        if not self._choices:
            raise DataError(f"the split {split!r} of {store.path} has no sentence with a word to train on")

    def __len__(self) -> int:
        return len(self._choices)

    def leave_out(self, files: Collection[str]) -> int:
        """Leave out what is about the pictures of these file names; return how many items that are.

        Raises `DataError` if nothing is left.
        """
        images = self.store.numbers("refs/image")[self.store.numbers("sentences/ref")]
        names: dict[int, str] = {}
        kept = []
        for choices in self._choices:
            row = int(images[choices[0]])
            name = names.get(row) or names.setdefault(row, self.store.image(row).file_name)
            if name not in files:
                kept.append(choices)
        gone = len(self._choices) - len(kept)
        self._choices = kept
        if not kept:
            raise DataError(f"every picture of {self.split!r} of {self.store.path} is held back by another store")
        return gone

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of items asked for by a plain index."""
        self.epoch = epoch

    def item(self, epoch: int, index: int) -> Item:
        """Return item `index` as it is in `epoch`. Raises `DataError` if the store cannot give it."""
        sample = self.drawn_sample(epoch, index)
        if not self.changes:
            return to_item(sample, self.preprocess, features=self.features)
        drawn = self.changes.draw(sample.mask, self.generator(_CHANGES, epoch, index))
        changed = replace(sample, image=drawn.picture(sample.image), mask=drawn.masks(sample.mask))
        return to_item(changed, self.sized(drawn.short), features=self.features)

    def drawn_sample(self, epoch: int, index: int) -> Sample:
        """Return the sample of item `index` in `epoch`, one of its sentences chosen, mirrored or not."""
        generator = self.generator(_ITEM, epoch, index)
        choices = self._choices[index]
        row = choices[int(generator.integers(len(choices)))]
        unseen = self.features is None or not self.features.has_pictures
        sample = self.store.sample(row, text_field=self.text_field, pixels=unseen)
        return augment(sample, flip_share=self.flip, colour=self.colour, generator=generator)

    def generator(self, stream: int, epoch: int, index: int) -> np.random.Generator:
        """Return what the draws of one kind, `stream`, for item `index` in `epoch` come from."""
        return np.random.default_rng((stream, self.seed, epoch, self.first + index))

    def sized(self, short: int | None) -> Preprocess:
        """Return the preprocess with inputs of that short side; None: as it is."""
        if short is None:
            return self.preprocess
        assert isinstance(self.preprocess, Sizable)
        return self.preprocess.sized(short, longest=self.changes.longest)

    def __getitem__(self, key: int | Key) -> Item | RisctlError:
        """Return the item of a key, or the error in its place: raised in a worker, its message would drown in the
        worker's traceback; `batches` raises it instead."""
        epoch, index = key if isinstance(key, tuple) else (self.epoch, key)
        try:
            return self.item(epoch, index)
        except RisctlError as error:
            return error


class EpochSampler:
    """Batches of keys of one epoch, shuffled; a batch sampler.

    Each of `world` processes is given its own `batch_size` keys of every global batch. What fills no whole group of
    `accumulate` global batches is dropped (never less than the whole epoch: that is a `UsageError`), unless `drop_last`
    is false, which is for one process. lengths: of the items; where they are given, items of like length come together,
    so that little of a batch is padding.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        accumulate: int = 1,
        drop_last: bool = True,
        lengths: np.ndarray | None = None,
    ) -> None:
        if not drop_last and (world > 1 or accumulate > 1):
            raise UsageError("a short last batch cannot be kept with several processes or accumulated batches")
        self.length = length
        self.lengths = lengths
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = 0
        group = batch_size * world * accumulate
        self._batches = length // group * accumulate if drop_last else -(-length // batch_size)
        if self._batches == 0:
            raise UsageError(
                f"one step needs {group} samples (data.batch_size={batch_size} x {world} processes x "
                f"optim.accumulate={accumulate}) and there are {length}; set data.batch_size={max(1, length)} or less"
            )
        self._skip = 0

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch, whatever is skipped."""
        return self._batches

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next pass, from its first batch."""
        self.epoch = epoch
        self._skip = 0

    def skip(self, batches: int) -> None:
        """Leave out the first `batches` of the next pass: how a resumed run begins in the middle of an epoch."""
        self._skip = batches

    def __iter__(self) -> Iterator[list[Key]]:
        order = self._order(np.random.default_rng((_ORDER, self.seed, self.epoch)))
        for batch in range(self._skip, self._batches):
            start = (batch * self.world + self.rank) * self.batch_size
            yield [(self.epoch, int(index)) for index in order[start : start + self.batch_size]]

    def _order(self, generator: np.random.Generator) -> np.ndarray:
        order = generator.permutation(self.length)
        if self.lengths is None:
            return order
        group = self.batch_size * self.world
        whole = self.length // group * group
        for start in range(0, whole, group * _ALIKE):
            some = order[start : min(start + group * _ALIKE, whole)]
            alike = some[np.argsort(self.lengths[some], kind="stable")].reshape(-1, group)
            order[start : start + some.size] = generator.permutation(alike).reshape(-1)
        return order


def make_loader(
    dataset: Dataset[Item | RisctlError],
    sampler: EpochSampler,
    *,
    workers: int,
    pin: bool = False,
    start_method: str | None = None,
) -> DataLoader[Batch]:
    """Return the loader of `dataset` in the order of `sampler`; to be read through `batches`.

    workers: processes, 0 to load in this one; pin: page-locked memory, for CUDA; start_method: `fork`, `spawn` or
    `forkserver`, None for the platform's own.
    """
    # The type of a loader is that of its batches here, not of its items: `_collate` makes the one of the other.
    items: Any = dataset
    return DataLoader(
        items,
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
    """Yield the batches of one pass. Raises the `RisctlError` that a sample met."""
    for batch in loader:
        if isinstance(batch, RisctlError):
            raise batch
        yield batch


def _collate(items: Sequence[Any], *, into: Callable[[Sequence[Any]], Batch]) -> Batch | RisctlError:
    good: list[Any] = []
    for item in items:
        if isinstance(item, RisctlError):
            return item
        good.append(item)
    return into(good)


def _start_worker(_: int) -> None:
    # Ctrl-C reaches the whole process group. The trainer finishes its step first and then ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
