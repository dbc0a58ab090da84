"""Serves clips of videos, or of images that are moved a little, as training items."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from risctl.data.batch import Item, Preprocess
from risctl.data.loading.image_dataset import AUGMENTATION_STREAM, ReferringImageDataset
from risctl.data.loading.pseudo_clips import pseudo_clip
from risctl.data.records import SampleIds
from risctl.data.store.clips import ClipStore, sample_frames
from risctl.data.store.reader import Store
from risctl.data.transforms.augmentations import jitter_colour
from risctl.errors import DataError
from risctl.language.flips import swap_left_right

_CLIP_STREAM, _MOTION_STREAM = 3, 7


class ClipDataset(ReferringImageDataset):
    """Base of datasets whose items are clips of `frames` frames, augmented alike."""

    def __init__(self, store: Store, split: str, preprocess: Preprocess, *, frames: int, **options: Any) -> None:
        """Creates the dataset.

        Args:
            store: The store.
            split: Name of the split.
            preprocess: The system's preprocess.
            frames: Frames per clip.
            options: Further arguments of `ReferringImageDataset`.
        """
        super().__init__(store, split, preprocess, **options)
        self.frames = frames

    def clip_item(
        self, images: list[np.ndarray], masks: np.ndarray, *, text: str, ids: SampleIds, key: tuple[int, int]
    ) -> Item:
        """Augments and preprocesses a clip.

        Args:
            images: T frames, uint8 (H, W, 3).
            masks: Masks of the object, bool (T, H, W).
            text: The expression.
            ids: Where the clip comes from.
            key: (epoch, index), from which the augmentations are drawn.

        Returns:
            The item, its image (T, 3, h, w).
        """
        preprocess = self.preprocess
        if self.augmentations:
            drawn = self.augmentations.draw(np.any(masks, axis=0), self.generator(AUGMENTATION_STREAM, *key))
            images, masks = [drawn.image(image) for image in images], drawn.masks(masks)
            preprocess = self.resized(drawn.short)
        prepared = [preprocess.image(image) for image in images]
        geometry = prepared[0][1]
        words, word_mask = preprocess.text(text)
        return Item(
            image=torch.stack([image for image, _ in prepared]),
            words=words,
            word_mask=word_mask,
            target=torch.stack([preprocess.target(mask, geometry) for mask in masks]),
            geometry=geometry,
            text=text,
            ids=ids,
        )


class ReferringVideoDataset(ClipDataset):
    """Clips of the videos of a split; at least one frame of each shows the object."""

    of_videos = True

    def __init__(
        self,
        store: Store,
        split: str,
        preprocess: Preprocess,
        *,
        frames: int,
        sentences: Literal["random", "all", "clips"] = "random",
        **options: Any,
    ) -> None:
        """Creates the dataset; the arguments are those of `ClipDataset` and `ReferringImageDataset`.

        Raises:
            DataError: The store holds no videos, or no object has a mask.
        """
        by_clip = sentences == "clips"
        super().__init__(store, split, preprocess, frames=frames, sentences="all" if by_clip else sentences, **options)
        self.clips = ClipStore(store)
        self._choices = [choice for choice in self._choices if self._has_mask(choice[0])]
        if by_clip:
            self._choices = [
                choice for choice in self._choices for _ in range(-(-self._frame_count(choice[0]) // frames))
            ]
        if not self._choices:
            raise DataError(f"no object of the split {split!r} of {store.path} has a mask to train on")

    def item(self, epoch: int, index: int) -> Item:
        """Returns item `index` as it is in `epoch`. Raises `DataError` if the store cannot provide it."""
        generator = self.generator(_CLIP_STREAM, epoch, index)
        choices = self._choices[index]
        sentence = self.store.sentence(choices[int(generator.integers(len(choices)))])
        ref = self.clips.ref(sentence.ref)
        visible = [number for number, frame in enumerate(ref.frames) if frame in ref.annotations]
        numbers = sample_frames(len(ref.frames), length=self.frames, generator=generator, among=visible)
        rows = [ref.frames[number] for number in numbers]
        images = [self.store.pixels(row) for row in rows]
        masks = self.clips.masks(ref, rows)
        text = sentence.text(self.text_field)
        if generator.random() < self.flip:
            images = [image[:, ::-1].copy() for image in images]
            masks = masks[..., ::-1].copy()
            text = swap_left_right(text)
        if self.colour > 0:
            seed = int(generator.integers(2**32))
            images = [
                jitter_colour(image, strength=self.colour, generator=np.random.default_rng(seed)) for image in images
            ]
        category = self.store.numbers("annotations/category")[next(iter(ref.annotations.values()))]
        ids = SampleIds(
            image_id=self.store.image(rows[0]).image_id,
            ref_id=ref.ref_id,
            sentence_id=sentence.sentence_id,
            category_id=int(category),
        )
        return self.clip_item(images, masks, text=text, ids=ids, key=(epoch, index))

    def _has_mask(self, sentence: int) -> bool:
        return bool(self.store.ref(self._ref_of(sentence)).annotations)

    def _frame_count(self, sentence: int) -> int:
        return len(self.clips.ref(self._ref_of(sentence)).frames)

    def _ref_of(self, sentence: int) -> int:
        return int(self.store.numbers("sentences/ref")[sentence])


class PseudoClipDataset(ClipDataset):
    """Clips made of the images of a split, each moved a little from frame to frame."""

    def item(self, epoch: int, index: int) -> Item:
        """Returns item `index` as it is in `epoch`. Raises `DataError` if the store cannot provide it."""
        sample = self.drawn_sample(epoch, index)
        images, masks = pseudo_clip(
            sample.image, sample.mask, frames=self.frames, generator=self.generator(_MOTION_STREAM, epoch, index)
        )
        return self.clip_item(images, masks, text=sample.text, ids=sample.ids, key=(epoch, index))
