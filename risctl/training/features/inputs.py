"""Loads the inputs of frozen encoders, the images and texts of a store by key, in batches of one size.

Cached features are therefore those of each image alone, as in prediction. Where images of several sizes make a batch
(ReferFormer), training without cached features pads them to the largest, and a backbone's layers carry the padding some
way into the image. Only there do the features of such a batch differ by more than their precision, and
`data.features: auto` does not use cached ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from risctl.data.batch import Preprocess
from risctl.data.loading.loader import batches
from risctl.data.store.reader import Store
from risctl.errors import RisctlError

Prepared = tuple[Tensor, Tensor]
"""What an encoder takes: an image (3, h, w) with its padding, or word ids (L,) with their mask."""


def image_inputs(store: Store, preprocess: Preprocess, keys: Sequence[str], *, workers: int) -> Iterator[Prepared]:
    """Yields the images of `keys`, decoded by `workers` processes.

    Raises:
        DataError: An image cannot be read.
    """
    loader: DataLoader[Prepared | RisctlError] = DataLoader(
        _Pictures(store, preprocess, keys), batch_size=None, num_workers=workers
    )
    yield from batches(loader)


def text_inputs(preprocess: Preprocess, texts: Sequence[str]) -> Iterator[Prepared]:
    """Yields the texts as word ids."""
    return (preprocess.text(text) for text in texts)


def batches_of_one_size(inputs: Iterable[Prepared], *, batch_size: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Yields neighbours of one size together, at most a batch at once: their positions, inputs and masks."""
    waiting: list[tuple[int, Tensor, Tensor]] = []
    for place, (one, mask) in enumerate(inputs):
        if waiting and (len(waiting) == batch_size or waiting[0][1].shape != one.shape):
            yield _together(waiting)
            waiting = []
        waiting.append((place, one, mask))
    if waiting:
        yield _together(waiting)


class _Pictures(Dataset["Prepared | RisctlError"]):
    """Images by key, preprocessed, with their padding. An error is returned in place of its image."""

    def __init__(self, store: Store, preprocess: Preprocess, keys: Sequence[str]) -> None:
        rows = {one: row for row, one in enumerate(store.numbers("images/id").tolist())}
        self._store, self._preprocess = store, preprocess
        self._wanted = [(rows[int(key.split()[0])], key.endswith("mirrored")) for key in keys]

    def __len__(self) -> int:
        return len(self._wanted)

    def __getitem__(self, index: int) -> Prepared | RisctlError:
        row, mirrored = self._wanted[index]
        try:
            pixels = self._store.pixels(row)
        except RisctlError as error:
            return error
        image, geometry = self._preprocess.image(pixels[:, ::-1].copy() if mirrored else pixels)
        return image, geometry.padding()


def _together(waiting: Sequence[tuple[int, Tensor, Tensor]]) -> tuple[list[int], Tensor, Tensor]:
    places, inputs, masks = zip(*waiting, strict=True)
    return list(places), torch.stack(inputs), torch.stack(masks)
