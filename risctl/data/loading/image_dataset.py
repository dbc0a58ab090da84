"""Serves the images and expressions of a store's split as training items."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from risctl.data.batch import Item, Preprocess
from risctl.data.features.cached_features import CachedFeatures
from risctl.data.loading.loader import KeyedDataset
from risctl.data.records import Sample
from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store, TextField
from risctl.data.transforms.augmentations import Augmentations, augment
from risctl.errors import DataError
from risctl.language.tokens import words_of
from risctl.vision.geometry import Geometry

# First entries of the seeds of an item's draws, so that no two kinds of draws share a stream. The other datasets use
# 3 (clips, boxes), 4 and 5 (zoom, paste) and 7 (motion); the order of an epoch is 1.
ITEM_STREAM, AUGMENTATION_STREAM = 2, 6

_NO_AUGMENTATIONS = Augmentations()


@runtime_checkable
class Resizable(Preprocess, Protocol):
    """A `Preprocess` that keeps the image's aspect ratio and can produce inputs of another size."""

    def with_size(self, short: int, *, longest: int | None) -> Preprocess:
        """Returns it with a shortest side of `short` pixels, the other one at most `longest`."""


class ReferringImageDataset(KeyedDataset[Item]):
    """The images and expressions of a split. The store is opened anew in each process."""

    of_videos = False
    features: CachedFeatures | None = None
    """Cached features in place of images and texts, where there are any."""

    def __init__(
        self,
        store: Store,
        split: str,
        preprocess: Preprocess,
        *,
        sentences: Literal["random", "all", "clips"] = "random",
        text_field: TextField = "sent",
        flip: float = 0.0,
        colour: float = 0.0,
        augmentations: Augmentations = _NO_AUGMENTATIONS,
        seed: int = 0,
        first: int = 0,
    ) -> None:
        """Creates the dataset. Sentences without a word are left out and counted in `left_out`.

        Args:
            store: The store.
            split: Name of the split.
            preprocess: The system's preprocess.
            sentences: "random": an item per referred object, with one of its sentences at random; "all": an item per
                sentence; "clips": of videos as many items per sentence as the video has clips, of images as "random".
            text_field: Which form of a sentence is read.
            flip: Probability of a horizontal flip.
            colour: Strength of the colour jitter.
            augmentations: Further augmentations.
            seed: Seed of all random draws.
            first: Added to an item's index in its seed, so that datasets in one training draw differently.

        Raises:
            DataError: The store holds videos, or nothing is left.
        """
        if is_video_store(store) and not self.of_videos:
            raise DataError(f"{store.path} holds videos: set data.frames to the length of a clip")
        self.store = store
        self.split = split
        self.preprocess = preprocess
        self.text_field: TextField = text_field
        self.flip = flip
        self.colour = colour
        self.augmentations = augmentations
        self.seed = seed
        self.first = first
        rows = [int(row) for row in store.sentences(split)]
        texts = store.texts(split, text_field)
        wordless = {row for row, text in zip(rows, texts, strict=True) if not words_of(text)}
        self.left_out = len(wordless)
        # Sentence rows by item: one of them is drawn each time.
        if sentences == "all":
            self._choices: list[tuple[int, ...]] = [(row,) for row in rows if row not in wordless]
        else:
            refs = [[int(row) for row in store.ref(int(ref)).sentences] for ref in store.refs(split)]
            kept = (tuple(row for row in ref if row not in wordless) for ref in refs)
            self._choices = [ref for ref in kept if ref]
        if not self._choices:
            raise DataError(f"the split {split!r} of {store.path} has no sentence with a word to train on")

    def __len__(self) -> int:
        return len(self._choices)

    def leave_out(self, files: Collection[str]) -> int:
        """Leaves out the items about images with these file names.

        Returns:
            The number of items left out.

        Raises:
            DataError: Nothing is left.
        """
        images = self.store.numbers("refs/image")[self.store.numbers("sentences/ref")]
        names: dict[int, str] = {}
        kept = []
        for choices in self._choices:
            row = int(images[choices[0]])
            name = names.get(row) or names.setdefault(row, self.store.image(row).file_name)
            if name not in files:
                kept.append(choices)
        count = len(self._choices) - len(kept)
        self._choices = kept
        if not kept:
            raise DataError(f"every image of {self.split!r} of {self.store.path} is held back by another store")
        return count

    def item(self, epoch: int, index: int) -> Item:
        """Returns item `index` as it is in `epoch`. Raises `DataError` if the store cannot provide it."""
        sample = self.drawn_sample(epoch, index)
        if not self.augmentations:
            return to_item(sample, self.preprocess, features=self.features)
        drawn = self.augmentations.draw(sample.mask, self.generator(AUGMENTATION_STREAM, epoch, index))
        augmented = replace(sample, image=drawn.image(sample.image), mask=drawn.masks(sample.mask))
        return to_item(augmented, self.resized(drawn.short), features=self.features)

    def drawn_sample(self, epoch: int, index: int) -> Sample:
        """Returns the sample of item `index` in `epoch`, one of its sentences drawn, flipped or not."""
        generator = self.generator(ITEM_STREAM, epoch, index)
        choices = self._choices[index]
        row = choices[int(generator.integers(len(choices)))]
        pixels = self.features is None or not self.features.has_images
        sample = self.store.sample(row, text_field=self.text_field, pixels=pixels)
        return augment(sample, flip_share=self.flip, colour=self.colour, generator=generator)

    def generator(self, stream: int, epoch: int, index: int) -> np.random.Generator:
        """Returns the random generator of one kind of draws for item `index` in `epoch`."""
        return np.random.default_rng((stream, self.seed, epoch, self.first + index))

    def resized(self, short: int | None) -> Preprocess:
        """Returns the preprocess with inputs of that shortest side in pixels; None: unchanged."""
        if short is None:
            return self.preprocess
        assert isinstance(self.preprocess, Resizable)
        return self.preprocess.with_size(short, longest=self.augmentations.longest)


def to_item(sample: Sample, preprocess: Preprocess, *, features: CachedFeatures | None = None) -> Item:
    """Preprocesses a sample.

    Args:
        sample: The sample.
        preprocess: The system's preprocess.
        features: Cached features; those that exist take the place of the image and the text.

    Returns:
        The item, ready to be collated.

    Raises:
        UsageError: The text has no word.
        DataError: The cache lacks the sample.
    """
    cached_visual = cached_text = None
    if features is not None:
        cached_visual = features.image(sample.ids.image_id, mirrored=sample.mirrored)
        cached_text = features.text(sample.text)
    image: Tensor
    geometry: Geometry
    if cached_visual is None:
        image, geometry = preprocess.image(sample.image)
    else:
        image, geometry = torch.zeros(3, 0, 0), preprocess.fit(height=sample.mask.shape[0], width=sample.mask.shape[1])
    words, word_mask = preprocess.text(sample.text)
    return Item(
        image=image,
        words=words,
        word_mask=word_mask,
        target=preprocess.target(sample.mask, geometry),
        geometry=geometry,
        text=sample.text,
        ids=sample.ids,
        cached_visual=cached_visual,
        cached_text=cached_text,
    )
