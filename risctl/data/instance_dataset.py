"""Pictures with everything annotated in them as training items, for systems that learn to find things."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from risctl.data.batch import Item, Preprocess, Things
from risctl.data.image_dataset import _ITEM, TrainingSet
from risctl.data.records import Sample
from risctl.data.store.reader import Store
from risctl.data.transforms import zoom_paste
from risctl.data.transforms.letterbox import augment, to_item
from risctl.vision import rle
from risctl.vision.geometry import Geometry

# After the seeds' first entries of `loading`, so that turning one change on leaves the others as they were.
_ZOOM, _PASTE = 4, 5

UNKNOWN = -1
"""The category of a thing of none that the system learns."""


@runtime_checkable
class ShapesThings(Protocol):
    """A `Preprocess` whose system wants the masks of things otherwise, mostly finer, than its targets."""

    def shapes(self, masks: np.ndarray, geometry: Geometry) -> Tensor:
        """Return masks (N, h, w) bool of the input, of any one scale, of masks (N, H, W) bool of the picture."""


class ThingTrainingSet(TrainingSet):
    """As `TrainingSet`, an item a picture: one of its sentences by chance, and all its things. Crowds are left out.

    zoom: share of the items that are a part of their picture, or farther off; paste: share that get things of another
    picture of the split (see `composition`). known: names by id of the categories that the system learns; a thing of
    another, by id or by name, has the category -1, so that stores with ids of their own do no harm. None: all are.
    """

    def __init__(
        self,
        store: Store,
        split: str,
        preprocess: Preprocess,
        *,
        zoom: float = 0.0,
        paste: float = 0.0,
        known: Mapping[int, str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(store, split, preprocess, **options)
        names = store.categories
        self._number = {one: one if known is None or known.get(one) == names[one] else UNKNOWN for one in names}
        self.zoom = zoom
        self.paste = paste
        of_picture: dict[int, list[int]] = {}
        for choices in self._choices:
            for row in choices:
                of_picture.setdefault(store.sentence(row).image, []).append(row)
        self._choices = [tuple(rows) for rows in of_picture.values()]

    def item(self, epoch: int, index: int) -> Item:
        """Return item `index` as it is in `epoch`. Raises `DataError` if the store cannot give it."""
        generator, zooming, pasting = (self.generator(stream, epoch, index) for stream in (_ITEM, _ZOOM, _PASTE))
        choices = self._choices[index]
        row = choices[int(generator.integers(len(choices)))]
        sample = self.store.sample(row, text_field=self.text_field)
        sample = replace(sample, things=self._things(self.store.sentence(row).image))
        if pasting.random() < self.paste:
            other = self.store.sentence(self._choices[int(pasting.integers(len(self)))][0]).image
            sample = zoom_paste.paste(sample, self._things(other), pixels=self.store.pixels(other), generator=pasting)
        sample = augment(sample, flip_share=self.flip, colour=self.colour, generator=generator)
        if zooming.random() < self.zoom:
            sample = zoom_paste.zoom(sample, generator=zooming)
        item = to_item(sample, self.preprocess)
        return replace(item, things=self._as_targets(sample, item))

    def _things(self, image: int) -> tuple[tuple[int, np.ndarray], ...]:
        rows = (self.store.annotation(int(row)) for row in self.store.annotations_of(image))
        return tuple((self._number[one.category_id], rle.decode(one.mask)) for one in rows if not one.crowd)

    def _as_targets(self, sample: Sample, item: Item) -> Things:
        categories = torch.tensor([category for category, _ in sample.things], dtype=torch.int64)
        if not sample.things:
            masks = torch.zeros((0, *item.image.shape[-2:]), dtype=torch.bool)
        elif isinstance(self.preprocess, ShapesThings):
            masks = self.preprocess.shapes(np.stack([mask for _, mask in sample.things]), item.geometry)
        else:
            masks = torch.stack([self.preprocess.target(mask, item.geometry) > 0.5 for _, mask in sample.things])
        return Things(categories=categories, masks=masks)
