"""Serves the training items of several stores in one training."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from risctl.data.batch import Item
from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.loading.loader import KeyedDataset
from risctl.data.splits import matches
from risctl.data.store.reader import Store


class JointDataset(KeyedDataset[Item]):
    """Several datasets one after another; a shuffling sampler mixes them, each item once per epoch.

    Attributes:
        left_out: Number of sentences without a word.
        held_back: Number of items whose image another store keeps for its evaluation.
    """

    def __init__(self, parts: Sequence[ReferringImageDataset], *, held_back: int = 0) -> None:
        """Joins `parts`, from which `held_back` items were left out before."""
        self.parts = tuple(parts)
        self.left_out = sum(part.left_out for part in parts)
        self.held_back = held_back
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def orientations(self) -> np.ndarray:
        """Returns for each item whether its image is wider than high, int (length,)."""
        return np.concatenate([part.orientations() for part in self.parts])

    def image_rows(self) -> np.ndarray:
        """Returns a number for the image of each item, int (length,); stores share none."""
        rows = [part.image_rows() for part in self.parts]
        begins = accumulate((int(own.max()) + 1 for own in rows), initial=0)
        return np.concatenate([own + begin for own, begin in zip(rows, begins, strict=False)])

    def item(self, epoch: int, index: int) -> Item:
        """Returns item `index` as it is in `epoch`. Raises `DataError` if its store cannot provide it."""
        part, begin = self._part(index)
        return part.item(epoch, index - begin)

    def item_sharing(self, epoch: int, index: int, *, first: int) -> Item:
        """Returns item `index` with the image of item `first`, which is of the same store. Raises as `item` does."""
        part, begin = self._part(index)
        return part.item_sharing(epoch, index - begin, first=first - begin)

    def _part(self, index: int) -> tuple[ReferringImageDataset, int]:
        number = bisect_right(self._ends, index)
        return self.parts[number], self._ends[number - 1] if number else 0


def held_back_files(stores: Sequence[Store], split: str) -> frozenset[str]:
    """Returns the file names of the images that any of the stores has in another split than `split`.

    RefCOCO, RefCOCO+ and RefCOCOg divide the same images, each in its own way.
    """
    found: set[str] = set()
    for store in stores:
        names = store.file_names()
        found.update(
            names[row] for other in store.splits if not matches(split, other) for row in store.images(other).tolist()
        )
    return frozenset(found)
