"""Pictures with everything annotated in them as training items, for systems that learn to find things."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from risctl.data.batch import Item, Preprocess, Things
from risctl.data.loading import _ITEM, TrainingSet
from risctl.data.records import Sample
from risctl.data.store.reader import Store
from risctl.data.transforms import augment, to_item
from risctl.vision import rle


class ThingTrainingSet(TrainingSet):
    """As `TrainingSet`, an item a picture: one of its sentences by chance, and all its things. Crowds are left out."""

    def __init__(self, store: Store, split: str, preprocess: Preprocess, **options: Any) -> None:
        super().__init__(store, split, preprocess, **options)
        of_picture: dict[int, list[int]] = {}
        for choices in self._choices:
            for row in choices:
                of_picture.setdefault(store.sentence(row).image, []).append(row)
        self._choices = [tuple(rows) for rows in of_picture.values()]

    def item(self, epoch: int, index: int) -> Item:
        """Return item `index` as it is in `epoch`. Raises `DataError` if the store cannot give it."""
        generator = np.random.default_rng((_ITEM, self.seed, epoch, index))
        choices = self._choices[index]
        row = choices[int(generator.integers(len(choices)))]
        sample = self.store.sample(row, text_field=self.text_field)
        sample = replace(sample, things=self._things(self.store.sentence(row).image))
        sample = augment(sample, flip_share=self.flip, colour=self.colour, generator=generator)
        item = to_item(sample, self.preprocess)
        return replace(item, things=self._as_targets(sample, item))

    def _things(self, image: int) -> tuple[tuple[int, np.ndarray], ...]:
        rows = (self.store.annotation(int(row)) for row in self.store.annotations_of(image))
        return tuple((one.category_id, rle.decode(one.mask)) for one in rows if not one.crowd)

    def _as_targets(self, sample: Sample, item: Item) -> Things:
        masks = [self.preprocess.target(mask, item.geometry) > 0.5 for _, mask in sample.things]
        categories = torch.tensor([category for category, _ in sample.things], dtype=torch.int64)
        empty = torch.zeros((0, *item.image.shape[-2:]), dtype=torch.bool)
        return Things(categories=categories, masks=torch.stack(masks) if masks else empty)
