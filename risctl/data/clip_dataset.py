"""Clips of a video store as training items; what `loading` does for pictures."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch

from risctl.data.batch import Item, Preprocess
from risctl.data.clips import ClipStore, sample_frames
from risctl.data.image_dataset import _CHANGES, TrainingSet
from risctl.data.pseudo_clips import pseudo_clip
from risctl.data.records import SampleIds
from risctl.data.store.reader import Store
from risctl.data.transforms.letterbox import jitter_colour
from risctl.errors import DataError
from risctl.language.flips import swap_left_right

# After the seeds' first entries of `loading`, so that no two streams are the same.
_CLIP, _MOTION = 3, 7


class ClipTrainingSet(TrainingSet):
    """The training items of a split of videos: `frames` frames of a clip, one at least showing the object.

    Further arguments are those of `TrainingSet`. What is done to one frame of a clip is done to all.
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
        by_clip = sentences == "clips"
        super().__init__(store, split, preprocess, sentences="all" if by_clip else sentences, **options)
        self.clips = ClipStore(store)
        self.frames = frames
        self._choices = [one for one in self._choices if self._shown(one[0])]
        if by_clip:
            self._choices = [one for one in self._choices for _ in range(-(-self._frames_of(one[0]) // frames))]
        if not self._choices:
            raise DataError(f"no object of the split {split!r} of {store.path} has a mask to train on")

    def item(self, epoch: int, index: int) -> Item:
        """Return item `index` as it is in `epoch`. Raises `DataError` if the store cannot give it."""
        generator = self.generator(_CLIP, epoch, index)
        choices = self._choices[index]
        sentence = self.store.sentence(choices[int(generator.integers(len(choices)))])
        ref = self.clips.ref(sentence.ref)
        shown = [place for place, frame in enumerate(ref.frames) if frame in ref.annotations]
        places = sample_frames(len(ref.frames), length=self.frames, generator=generator, among=shown)
        rows = [ref.frames[place] for place in places]
        pictures = [self.store.pixels(row) for row in rows]
        masks = self.clips.masks(ref, rows)
        text = sentence.text(self.text_field)
        if generator.random() < self.flip:
            pictures = [one[:, ::-1].copy() for one in pictures]
            masks = masks[..., ::-1].copy()
            text = swap_left_right(text)
        if self.colour > 0:
            seed = int(generator.integers(2**32))
            pictures = [
                jitter_colour(one, strength=self.colour, generator=np.random.default_rng(seed)) for one in pictures
            ]
        category = self.store.numbers("annotations/category")[next(iter(ref.annotations.values()))]
        ids = SampleIds(
            image_id=self.store.image(rows[0]).image_id,
            ref_id=ref.ref_id,
            sentence_id=sentence.sentence_id,
            category_id=int(category),
        )
        return _clip_item(self, pictures, masks, text=text, ids=ids, key=(epoch, index))

    def _shown(self, sentence: int) -> bool:
        return bool(self.store.ref(self._ref_of(sentence)).annotations)

    def _frames_of(self, sentence: int) -> int:
        return len(self.clips.ref(self._ref_of(sentence)).frames)

    def _ref_of(self, sentence: int) -> int:
        return int(self.store.numbers("sentences/ref")[sentence])


class PictureClipSet(TrainingSet):
    """The training items of a split of pictures, each turned into a clip of `frames` frames that move a little.

    Further arguments are those of `TrainingSet`.
    """

    def __init__(self, store: Store, split: str, preprocess: Preprocess, *, frames: int, **options: Any) -> None:
        super().__init__(store, split, preprocess, **options)
        self.frames = frames

    def item(self, epoch: int, index: int) -> Item:
        """Return item `index` as it is in `epoch`. Raises `DataError` if the store cannot give it."""
        sample = self.drawn_sample(epoch, index)
        pictures, masks = pseudo_clip(
            sample.image, sample.mask, frames=self.frames, generator=self.generator(_MOTION, epoch, index)
        )
        return _clip_item(self, pictures, masks, text=sample.text, ids=sample.ids, key=(epoch, index))


def _clip_item(
    items: TrainingSet,
    pictures: list[np.ndarray],
    masks: np.ndarray,
    *,
    text: str,
    ids: SampleIds,
    key: tuple[int, int],
) -> Item:
    """Return the item of frames (H, W, 3) and masks (T, H, W), changed as `items` has it."""
    preprocess = items.preprocess
    if items.changes:
        drawn = items.changes.draw(np.any(masks, axis=0), items.generator(_CHANGES, *key))
        pictures, masks = [drawn.picture(one) for one in pictures], drawn.masks(masks)
        preprocess = items.sized(drawn.short)
    prepared = [preprocess.image(one) for one in pictures]
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
