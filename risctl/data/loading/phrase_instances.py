"""Serves images and expressions with each of the instances that an expression refers to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from risctl.data.batch import InstanceTargets, Item
from risctl.data.loading.image_dataset import AUGMENTATION_STREAM, Draw, ReferringImageDataset, to_item
from risctl.data.loading.instance_dataset import InstanceMaskPreprocess
from risctl.vision import rle


class PhraseInstanceDataset(ReferringImageDataset):
    """The items of `ReferringImageDataset`, each with the masks of its expression's annotations, none for "nothing"."""

    def drawn_item(self, chosen: int, draw: Draw) -> Item:
        """Returns item `chosen` with the random draws of `draw`."""
        sample = self.drawn_sample(chosen, draw)
        if self.augmentations:
            drawn = self.augmentations.draw(sample.mask, self.generator(AUGMENTATION_STREAM, *draw))
            sample = replace(sample, image=drawn.colours(sample.image))
        item = to_item(sample, self.preprocess)
        # All sentences that may be drawn for an item are of one ref.
        ref = int(self.store.numbers("sentences/ref")[self._choices[chosen][0]])
        annotations = self.store.ref(ref).annotations
        masks = [rle.decode(self.store.annotation(row).mask) for row in annotations]
        full = np.stack(masks) if masks else np.zeros((0, *sample.mask.shape), dtype=bool)
        if sample.mirrored:
            full = np.ascontiguousarray(full[:, :, ::-1])
        assert isinstance(self.preprocess, InstanceMaskPreprocess)
        targets = InstanceTargets(
            categories=torch.zeros(len(masks), dtype=torch.int64),
            masks=self.preprocess.instance_masks(full, item.geometry),
        )
        return replace(item, instances=targets)
