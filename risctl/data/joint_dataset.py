"""Training items of several stores in one training."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from torch.utils.data import Dataset

from risctl.data.batch import Item
from risctl.data.image_dataset import Key, TrainingSet
from risctl.data.splits import matches
from risctl.data.store.reader import Store
from risctl.errors import RisctlError


class JointTrainingSet(Dataset[Item | RisctlError]):
    """The items of several sets, one set after the other; the sampler mixes them, each once an epoch.

    left_out: sentences without a word; held_back: items whose picture another store keeps for its evaluation.
    """

    def __init__(self, parts: Sequence[TrainingSet], *, held_back: int = 0) -> None:
        self.parts = tuple(parts)
        self.left_out = sum(part.left_out for part in parts)
        self.held_back = held_back
        self._ends = list(accumulate(len(part) for part in parts))
        self.epoch = 0

    def __len__(self) -> int:
        return self._ends[-1]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of items asked for by a plain index."""
        self.epoch = epoch

    def item(self, epoch: int, index: int) -> Item:
        """Return item `index` as it is in `epoch`. Raises `DataError` if its store cannot give it."""
        part = bisect_right(self._ends, index)
        return self.parts[part].item(epoch, index - (self._ends[part - 1] if part else 0))

    def __getitem__(self, key: int | Key) -> Item | RisctlError:
        """Return the item of a key, or the error in its place, as `TrainingSet` does."""
        epoch, index = key if isinstance(key, tuple) else (self.epoch, key)
        try:
            return self.item(epoch, index)
        except RisctlError as error:
            return error


def held_back_files(stores: Sequence[Store], split: str) -> frozenset[str]:
    """Return the file names of the pictures that any of the stores has in another split than `split`.

    RefCOCO, RefCOCO+ and RefCOCOg divide the same pictures each in its own way.
    """
    return frozenset(
        store.image(int(row)).file_name
        for store in stores
        for other in store.splits
        if not matches(split, other)
        for row in store.images(other)
    )
