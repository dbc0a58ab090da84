"""Serves the images and expressions of a store's split as training items."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import compress
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from risctl.data.batch import Item, Preprocess
from risctl.data.features.cached_features import CachedFeatures
from risctl.data.loading.loader import KeyedDataset
from risctl.data.loading.published_polygons import PublishedPolygons
from risctl.data.records import Sample
from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store, TextField
from risctl.data.transforms.augmentations import Augmentations, DrawnAugmentations, augment
from risctl.errors import DataError
from risctl.language.flips import Swap, swap_left_right
from risctl.language.tokens import words_of
from risctl.vision.geometry import Geometry
from risctl.vision.resize import ImageRegion

# First entries of the seeds of an item's draws, so that no two kinds of draws share a stream. The other datasets use
# 3 (clips, boxes), 4 and 5 (zoom, paste) and 7 (motion); the order of an epoch is 1.
ITEM_STREAM, AUGMENTATION_STREAM, _REPLACEMENT_STREAM, _SENTENCE_STREAM = 2, 6, 8, 9

Draw = tuple[int, ...]
"""What the random draws of an item depend on: (epoch, index), and the attempt from the second on."""

_NO_AUGMENTATIONS = Augmentations()
_ATTEMPTS = 100


@runtime_checkable
class Resizable(Preprocess, Protocol):
    """A `Preprocess` that keeps the image's aspect ratio and can produce inputs of another size."""

    short: int
    """Shortest side of the input in pixels."""

    def with_size(self, short: int, *, longest: int | None, region: ImageRegion | None = None) -> Preprocess:
        """Returns it with a shortest side of `short` pixels, the other one at most `longest`, showing `region` only.

        Its images may be uint8, and its targets bool, until the batch is moved.
        """


class ReferringImageDataset(KeyedDataset[Item]):
    """The images and expressions of a split. The store is opened anew in each process."""

    of_videos = False
    _last: tuple[int, np.ndarray] | None = None  # the image that was decoded last

    features: CachedFeatures | None = None
    """Cached features in place of images and texts, where there are any."""

    polygons: PublishedPolygons | None = None
    """Published polygons in place of stored masks, where they are rasterised at the input's size."""

    def __init__(
        self,
        store: Store,
        split: str,
        preprocess: Preprocess,
        *,
        sentences: Literal["random", "all", "clips"] = "random",
        text_field: TextField = "sent",
        flip: float = 0.0,
        flip_text: Swap = swap_left_right,
        colour: float = 0.0,
        augmentations: Augmentations = _NO_AUGMENTATIONS,
        seed: int = 0,
        first: int = 0,
        shares_images: bool = False,
    ) -> None:
        """Creates the dataset. Sentences without a word are left out and counted in `left_out`.

        Args:
            store: The store.
            split: Name of the split.
            preprocess: The system's preprocess.
            sentences: "random": an item per referred object, with one of its sentences at random; "all": an item per
                sentence; "clips": of videos as many items per sentence as the video has clips, of images as "all".
            text_field: Which form of a sentence is read.
            flip: Probability of a horizontal flip.
            flip_text: Exchanges left and right in the text of a flipped sample.
            colour: Strength of the colour jitter.
            augmentations: Further augmentations.
            seed: Seed of all random draws.
            first: Added to an item's index in its seed, so that datasets in one training draw differently.
            shares_images: Whether items of one image may be drawn alike but for the sentence (`item_sharing`), which
                is then drawn apart from all else.

        Raises:
            DataError: The store holds videos, or nothing is left.
        """
        if is_video_store(store) and not self.of_videos:
            raise DataError(f"{store.path} holds videos: set data.frames to the length of a clip")
        self.store = store
        self.split = split
        self.preprocess = preprocess
        self.resizes = isinstance(preprocess, Resizable)
        self.text_field: TextField = text_field
        self.flip = flip
        self.flip_text = flip_text
        self.colour = colour
        self.augmentations = augmentations
        self.seed = seed
        self.first = first
        self.shares_images = shares_images
        rows = store.sentences(split).tolist()
        worded = [bool(words_of(text)) for text in store.texts(split, text_field)]
        self.left_out = len(rows) - sum(worded)
        # Sentence rows by item: one of them is drawn each time.
        self._choices: list[tuple[int, ...]]
        if sentences == "random":
            self._choices = _by_ref(store, split, rows=rows, kept=worded)
        else:
            self._choices = list(zip(compress(rows, worded)))
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
        names = self.store.file_names()
        excluded = np.array([name in files for name in names], dtype=bool)
        left = ~excluded[self.image_rows()]
        self._keep(left.tolist())
        if not self._choices:
            raise DataError(f"every image of {self.split!r} of {self.store.path} is held back by another store")
        return int(len(left) - left.sum())

    def _keep(self, kept: Sequence[bool]) -> None:
        self._choices = list(compress(self._choices, kept))

    def orientations(self) -> np.ndarray:
        """Returns for each item whether its image is wider than high, int (length,)."""
        own = self.image_rows()
        return (self.store.numbers("images/width")[own] > self.store.numbers("images/height")[own]).astype(np.int64)

    def image_rows(self) -> np.ndarray:
        """Returns the row of each item's image, int (length,)."""
        images = self.store.numbers("refs/image")[self.store.numbers("sentences/ref")]
        return images[[choices[0] for choices in self._choices]]

    def item(self, epoch: int, index: int) -> Item:
        """Returns item `index` as it is in `epoch`.

        Where nothing of its object is seen, in a crop or in the frames of a clip, a random other one takes its place.

        Raises:
            DataError: The store cannot provide it, or nothing is seen of any object.
        """
        return self._seen(self.drawn_item(index, (epoch, index)), epoch, index)

    def item_sharing(self, epoch: int, index: int, *, first: int) -> Item:
        """Returns item `index` as `item` does, its image augmented as that of item `first`, which is the same one.

        An item in whose augmented image nothing of its object is seen is replaced by one that shares no image.

        Raises:
            DataError: As `item` does.
        """
        found = self.drawn_item(index, (epoch, first))
        if found is not None:
            return replace(found, image_key=(epoch, self.first + first))
        return self._seen(found, epoch, index)

    def _seen(self, found: Item | None, epoch: int, index: int) -> Item:
        for attempt in range(1, _ATTEMPTS):
            if found is not None:
                return found
            other = int(self.generator(_REPLACEMENT_STREAM, epoch, index, attempt).integers(len(self)))
            found = self.drawn_item(other, (epoch, index, attempt))
        if found is None:
            raise DataError(
                f"none of {_ATTEMPTS} samples of {self.split!r} of {self.store.path} shows its object once cropped; "
                "set data.augment.crop.keep_object=true, or take data.augment.crop out"
            )
        return found

    def drawn_item(self, chosen: int, draw: Draw) -> Item | None:
        """Returns item `chosen` with the random draws of `draw`, None where nothing of its object is seen."""
        sample = self.drawn_sample(chosen, draw)
        if not self.augmentations:
            return to_item(sample, self.preprocess, features=self.features, polygons=self.polygons)
        drawn = self.augmentations.draw(sample.mask, self.generator(AUGMENTATION_STREAM, *draw))
        preprocess, region = self.fitted(drawn), drawn.region
        box = None
        if self.augmentations.clipped_boxes:
            box = relative_boxes(np.array(sample.box or (0.0,) * 4), region, size=sample.mask.shape)
        seen = sample.mask[region.pixels()].any() if box is None and region is not None else box is None or box.any()
        if not seen and sample.mask.any():
            return None
        image, mask = drawn.colours(sample.image), sample.mask
        if not self.resizes:
            image, mask = drawn.cut(image), drawn.cut_masks(mask)
        item = to_item(replace(sample, image=image, mask=mask), preprocess, features=self.features)
        return item if box is None else replace(item, boxes=box)

    def drawn_sample(self, chosen: int, draw: Draw) -> Sample:
        """Returns the sample of item `chosen` with the random draws of `draw`, one of its sentences, flipped or not."""
        generator = self.generator(ITEM_STREAM, *draw)
        choices = self._choices[chosen]
        drawn = self.generator(_SENTENCE_STREAM, draw[0], chosen) if self.shares_images else generator
        row = choices[int(drawn.integers(len(choices)))]
        pixels = self.features is None or not self.features.has_images
        sample = self.store.sample(row, text_field=self.text_field, pixels=pixels and not self.shares_images)
        if pixels and self.shares_images:
            sample = replace(sample, image=self._decoded(self.store.sentence(row).image))
        if self.augmentations.clipped_boxes:
            sample = replace(sample, box=self._annotated_box(row))
        return augment(sample, flip_share=self.flip, colour=self.colour, generator=generator, swap=self.flip_text)

    def _decoded(self, image: int) -> np.ndarray:
        """Returns the pixels of an image; items that follow each other and share it have it decoded once."""
        if self._last is None or self._last[0] != image:
            self._last = image, self.store.pixels(image)
        return self._last[1]

    def _annotated_box(self, row: int) -> tuple[float, float, float, float] | None:
        """Returns the box around all annotations of a sentence's ref, xyxy in pixels; None if it has none."""
        annotations = list(self.store.ref(int(self.store.numbers("sentences/ref")[row])).annotations)
        if not annotations:
            return None
        boxes = self.store.numbers("annotations/box")[annotations]
        left, top = boxes[:, :2].min(0).tolist()
        right, bottom = (boxes[:, :2] + boxes[:, 2:]).max(0).tolist()
        return left, top, right, bottom

    def generator(self, stream: int, epoch: int, index: int, *attempt: int) -> np.random.Generator:
        """Returns the random generator of one kind of draws for item `index` in `epoch`, at the attempt of a `Draw`."""
        return np.random.default_rng((stream, self.seed, epoch, self.first + index, *attempt))

    def fitted(self, drawn: DrawnAugmentations) -> Preprocess:
        """Returns the preprocess for inputs of a drawn size and part of the image."""
        if (drawn.short is None and drawn.region is None) or not self.resizes:
            return self.preprocess
        assert isinstance(self.preprocess, Resizable)
        return self.preprocess.with_size(
            drawn.short or self.preprocess.short, longest=drawn.longest, region=drawn.region
        )


def relative_boxes(boxes: np.ndarray, region: ImageRegion | None, *, size: tuple[int, ...]) -> Tensor:
    """Returns boxes as an item holds them: cut to the part of the image that is kept, as centre and size.

    Args:
        boxes: (..., 4), xyxy in pixels of an image.
        region: The part, None for all of the image.
        size: Height and width of the image.

    Returns:
        float32 (..., 4), fractions of the part; zeros for a box of which nothing is left.
    """
    if region is None:
        clipped = (boxes / np.array([size[1], size[0]] * 2)).clip(0, 1)
    else:
        clipped = region.boxes(boxes)
    start, stop = clipped[..., :2], clipped[..., 2:]
    found = np.concatenate([(start + stop) / 2, stop - start], axis=-1)
    return torch.from_numpy((found * (stop > start).all(-1, keepdims=True)).astype(np.float32))


def _by_ref(store: Store, split: str, *, rows: Sequence[int], kept: Sequence[bool]) -> list[tuple[int, ...]]:
    """Returns for each ref of a split the rows of its sentences that are kept; refs without any are left out."""
    refs = store.numbers("sentences/ref")[list(rows)].tolist()
    groups: dict[int, list[int]] = {}
    for row, ref, is_kept in zip(rows, refs, kept, strict=True):
        if is_kept:
            groups.setdefault(ref, []).append(row)
    return [tuple(group) for _, group in sorted(groups.items())]


def to_item(
    sample: Sample,
    preprocess: Preprocess,
    *,
    features: CachedFeatures | None = None,
    polygons: PublishedPolygons | None = None,
) -> Item:
    """Preprocesses a sample.

    Args:
        sample: The sample.
        preprocess: The system's preprocess.
        features: Cached features; those that exist take the place of the image and the text.
        polygons: What the target is rasterised from, at its own size, which the image fills; None: the stored mask.

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
    target = preprocess.target(sample.mask, geometry)
    if polygons is not None:
        target = _rasterised(sample, polygons, target)
    return Item(
        image=image,
        words=words,
        word_mask=word_mask,
        target=target,
        geometry=geometry,
        text=sample.text,
        ids=sample.ids,
        cached_visual=cached_visual,
        cached_text=cached_text,
    )


def _rasterised(sample: Sample, polygons: PublishedPolygons, target: Tensor) -> Tensor:
    """Returns the target from polygons, mirrored as the sample is; `target` where its object has no polygons."""
    height, width = sample.mask.shape
    size = (target.shape[0], target.shape[1])
    mask = polygons.mask(sample.annotation_ids, height=height, width=width, size=size)
    if mask is None:
        return target
    return torch.from_numpy(np.ascontiguousarray(mask[:, ::-1] if sample.mirrored else mask)).to(target.dtype)
