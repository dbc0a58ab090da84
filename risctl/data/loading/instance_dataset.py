"""Serves images with all their annotated instances as training items, for systems that learn to detect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from risctl.data.batch import InstanceTargets, Item, Preprocess
from risctl.data.loading.image_dataset import ITEM_STREAM, ReferringImageDataset, to_item
from risctl.data.records import Sample
from risctl.data.store.reader import Store
from risctl.data.transforms import zoom_paste
from risctl.data.transforms.augmentations import augment
from risctl.vision import rle
from risctl.vision.geometry import Geometry

# Streams of their own, so that turning one augmentation on leaves the others as they were.
_ZOOM_STREAM, _PASTE_STREAM = 4, 5

UNKNOWN = -1
"""The category of an instance of none that the system learns."""


@runtime_checkable
class InstanceMaskPreprocess(Protocol):
    """A `Preprocess` whose system wants instance masks at another, mostly finer, resolution than its targets."""

    def instance_masks(self, masks: np.ndarray, geometry: Geometry) -> Tensor:
        """Returns masks of the input, bool (N, h, w), of masks of the image, bool (N, H, W)."""


class InstanceDataset(ReferringImageDataset):
    """An item per image: one of its sentences at random, and all its instances but crowds."""

    def __init__(
        self,
        store: Store,
        split: str,
        preprocess: Preprocess,
        *,
        zoom: float = 0.0,
        paste: float = 0.0,
        known: Mapping[int, str] | None = None,
        boxes_only: bool = False,
        **options: Any,
    ) -> None:
        """Creates the dataset.

        Args:
            store: The store.
            split: Name of the split.
            preprocess: The system's preprocess.
            zoom: Probability that an item is zoomed in or out.
            paste: Probability that instances of another image of the split are pasted on an item.
            known: Names by id of the categories that the system learns, None for all. An instance of another, by id or
                by name, has the category `UNKNOWN`, so that a store with its own ids does no harm.
            boxes_only: Whether the store's masks are only the boxes of its instances. None are pasted then.
            options: Further arguments of `ReferringImageDataset`.
        """
        super().__init__(store, split, preprocess, **options)
        names = store.categories
        self._category = {name: name if known is None or known.get(name) == names[name] else UNKNOWN for name in names}
        self.zoom = zoom
        self.paste = 0.0 if boxes_only else paste
        self.boxes_only = boxes_only
        by_image: dict[int, list[int]] = {}
        for choices in self._choices:
            for row in choices:
                by_image.setdefault(store.sentence(row).image, []).append(row)
        self._choices = [tuple(rows) for rows in by_image.values()]

    def item(self, epoch: int, index: int) -> Item:
        """Returns item `index` as it is in `epoch`. Raises `DataError` if the store cannot provide it."""
        generator, zooming, pasting = (
            self.generator(stream, epoch, index) for stream in (ITEM_STREAM, _ZOOM_STREAM, _PASTE_STREAM)
        )
        choices = self._choices[index]
        row = choices[int(generator.integers(len(choices)))]
        sample = self.store.sample(row, text_field=self.text_field)
        sample = replace(sample, instances=self._instances(self.store.sentence(row).image))
        if pasting.random() < self.paste:
            other = self.store.sentence(self._choices[int(pasting.integers(len(self)))][0]).image
            sample = zoom_paste.paste(
                sample, self._instances(other), pixels=self.store.pixels(other), generator=pasting
            )
        sample = augment(sample, flip_share=self.flip, colour=self.colour, generator=generator)
        if zooming.random() < self.zoom:
            sample = zoom_paste.zoom(sample, generator=zooming)
        item = to_item(sample, self.preprocess)
        return replace(item, instances=self._targets(sample, item))

    def _instances(self, image: int) -> tuple[tuple[int, np.ndarray], ...]:
        annotations = (self.store.annotation(int(row)) for row in self.store.annotations_of(image))
        return tuple(
            (self._category[annotation.category_id], rle.decode(annotation.mask))
            for annotation in annotations
            if not annotation.crowd
        )

    def _targets(self, sample: Sample, item: Item) -> InstanceTargets:
        categories = torch.tensor([category for category, _ in sample.instances], dtype=torch.int64)
        if not sample.instances:
            masks = torch.zeros((0, *item.image.shape[-2:]), dtype=torch.bool)
        elif isinstance(self.preprocess, InstanceMaskPreprocess):
            masks = self.preprocess.instance_masks(np.stack([mask for _, mask in sample.instances]), item.geometry)
        else:
            masks = torch.stack([self.preprocess.target(mask, item.geometry) > 0.5 for _, mask in sample.instances])
        return InstanceTargets(categories=categories, masks=masks, boxes_only=self.boxes_only)
