"""Serves clips of videos, or of images that are moved a little, as training items."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from risctl.data.batch import Item, Preprocess
from risctl.data.loading.frame_sampling import frames_around
from risctl.data.loading.image_dataset import (
    AUGMENTATION_STREAM,
    Draw,
    ReferringImageDataset,
    relative_boxes,
)
from risctl.data.loading.pseudo_clips import pseudo_clip
from risctl.data.records import SampleIds
from risctl.data.store.clips import ClipStore, sample_frames
from risctl.data.store.reader import Store
from risctl.data.store.windows import FrameWindows
from risctl.data.transforms.augmentations import jitter_colour
from risctl.errors import DataError

_CLIP_STREAM, _MOTION_STREAM = 3, 7


class ClipDataset(ReferringImageDataset):
    """Base of datasets whose items are clips of `frames` frames, flipped, cut and resized alike."""

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
        self,
        images: list[np.ndarray],
        masks: np.ndarray,
        *,
        text: str,
        ids: SampleIds,
        draw: Draw,
        annotated: int | None = None,
    ) -> Item | None:
        """Augments and preprocesses a clip.

        Args:
            images: T frames, uint8 (H, W, 3).
            masks: Masks of the object, bool (T, H, W), or (1, H, W) of the frame `annotated`.
            text: The expression.
            ids: Where the clip comes from.
            draw: What the augmentations are drawn from.
            annotated: The frame that is annotated, None if all are.

        Returns:
            The item, its image (T, 3, h, w); None where no frame shows anything of the object.
        """
        preprocess: Preprocess = self.preprocess
        boxes: Tensor | None = None
        whole = masks
        if self.augmentations:
            generator = self.generator(AUGMENTATION_STREAM, *draw)
            drawn = self.augmentations.draw(np.any(masks, axis=0), generator, frames=len(images))
            preprocess = self.fitted(drawn)
            images = [drawn.colours(image, frame=number) for number, image in enumerate(images)]
            if self.augmentations.clipped_boxes:
                boxes = relative_boxes(_boxes(masks), drawn.region, size=masks.shape[1:])
            whole = drawn.cut_masks(masks)
            if not self.resizes:
                images, masks = [drawn.cut(image) for image in images], whole
        if not (whole.any() if boxes is None else boxes.any()):
            return None
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
            boxes=boxes,
            annotated=annotated,
            ids=ids,
        )


class ReferringVideoDataset(ClipDataset):
    """Clips of the videos of a split; at least one frame of each shows the object.

    By clips, each sentence gives an item around every `frames`-th frame of its video; otherwise the frame that an item
    is around is drawn among those that show the object.
    """

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
        self._centres: list[int] | None = None
        if by_clip:
            starts = [range(0, self._frame_count(choice[0]), frames) for choice in self._choices]
            self._centres = [start for own in starts for start in own]
            self._choices = [choice for choice, own in zip(self._choices, starts, strict=True) for _ in own]
        if not self._choices:
            raise DataError(f"no object of the split {split!r} of {store.path} has a mask to train on")

    def drawn_item(self, chosen: int, draw: Draw) -> Item | None:
        """Returns item `chosen` with the random draws of `draw`, None where no frame shows anything of its object."""
        generator = self.generator(_CLIP_STREAM, *draw)
        choices = self._choices[chosen]
        sentence = self.store.sentence(choices[int(generator.integers(len(choices)))])
        ref = self.clips.ref(sentence.ref)
        if self._centres is not None:
            every, centre = range(len(ref.frames)), self._centres[chosen]
            numbers = frames_around(every, centre=centre, length=self.frames, generator=generator)
        else:
            visible = [number for number, frame in enumerate(ref.frames) if frame in ref.annotations]
            numbers = sample_frames(len(ref.frames), length=self.frames, generator=generator, among=visible)
        rows = [ref.frames[number] for number in numbers]
        images = [self.store.pixels(row) for row in rows]
        masks = self.clips.masks(ref, rows)
        text = sentence.text(self.text_field)
        if generator.random() < self.flip:
            images = [image[:, ::-1].copy() for image in images]
            masks = masks[..., ::-1].copy()
            text = self.flip_text(text)
        if self.colour > 0:
            seed = int(generator.integers(2**32))
            images = [
                jitter_colour(image, strength=self.colour, generator=np.random.default_rng(seed)) for image in images
            ]
        category = self.store.numbers("annotations/category")[next(iter(ref.annotations.values()))[0]]
        ids = SampleIds(
            image_id=self.store.image(rows[0]).image_id,
            ref_id=ref.ref_id,
            sentence_id=sentence.sentence_id,
            category_id=int(category),
        )
        return self.clip_item(images, masks, text=text, ids=ids, draw=draw)

    def _keep(self, kept: Sequence[bool]) -> None:
        super()._keep(kept)
        if self._centres is not None:
            self._centres = list(compress(self._centres, kept))

    def _has_mask(self, sentence: int) -> bool:
        return bool(self.store.ref(self._ref_of(sentence)).annotations)

    def _frame_count(self, sentence: int) -> int:
        return len(self.clips.ref(self._ref_of(sentence)).frames)

    def _ref_of(self, sentence: int) -> int:
        return int(self.store.numbers("sentences/ref")[sentence])


class PseudoClipDataset(ClipDataset):
    """Clips made of the images of a split, each moved a little from frame to frame."""

    def drawn_item(self, chosen: int, draw: Draw) -> Item | None:
        """Returns item `chosen` with the random draws of `draw`, None where nothing of its object is seen."""
        sample = self.drawn_sample(chosen, draw)
        images, masks = pseudo_clip(
            sample.image, sample.mask, frames=self.frames, generator=self.generator(_MOTION_STREAM, *draw)
        )
        return self.clip_item(images, masks, text=sample.text, ids=sample.ids, draw=draw)


class AnnotatedFrameDataset(ClipDataset):
    """Clips around the single annotated frames of a store that keeps the frames around them (A2D-Sentences).

    Only the annotated frame has a target.
    """

    def __init__(self, store: Store, split: str, preprocess: Preprocess, *, frames: int, **options: Any) -> None:
        """Creates the dataset; the arguments are those of `ClipDataset`.

        Raises:
            DataError: The store keeps annotated frames alone.
        """
        super().__init__(store, split, preprocess, frames=frames, **options)
        self.windows = FrameWindows(store)
        self.windows.around(self._image_of(0))

    def drawn_item(self, chosen: int, draw: Draw) -> Item | None:
        """Returns item `chosen` with the random draws of `draw`, None where nothing of its object is seen."""
        sample = self.drawn_sample(chosen, draw)
        number, rows = self.windows.around(self._image_of(chosen))
        generator = self.generator(_CLIP_STREAM, *draw)
        numbers = frames_around(tuple(rows), centre=number, length=self.frames, generator=generator)
        around = {one: self.store.pixels(rows[one]) for one in set(numbers) - {number}}
        if sample.mirrored:
            around = {one: pixels[:, ::-1].copy() for one, pixels in around.items()}
        images = [sample.image if one == number else around[one] for one in numbers]
        return self.clip_item(
            images, sample.mask[None], text=sample.text, ids=sample.ids, draw=draw, annotated=numbers.index(number)
        )

    def _image_of(self, chosen: int) -> int:
        return self.store.sentence(self._choices[chosen][0]).image


def _boxes(masks: np.ndarray) -> np.ndarray:
    """Returns the boxes (T, 4) of masks, bool (T, H, W), xyxy in pixels, zeros of empty ones.

    As published they end at the last pixel, not after it.
    """
    boxes = np.zeros((len(masks), 4))
    for number, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            boxes[number] = columns[0], rows[0], columns[-1], rows[-1]
    return boxes
