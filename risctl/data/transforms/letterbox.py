"""Sample → Item: letterboxing, and what training may do to a sample before it.

Augmentations take a numpy generator and draw from nothing else, so that an item depends on its seed alone.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from risctl.data.batch import Item, Preprocess, own_geometry
from risctl.data.features.cached_features import Recall
from risctl.data.records import Sample
from risctl.language.flips import swap_left_right
from risctl.language.vocabulary import Vocabulary
from risctl.vision.geometry import Geometry
from risctl.vision.letterbox import Letterbox
from risctl.vision.resized import Fitted

# Rec. 601 luma, as JPEG and PIL's "L" have it.
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


class LetterboxPreprocess:
    """Pictures letterboxed into a square of `size`, texts as ids of `vocabulary`; a `Preprocess`.

    fill: the border's value in [0, 1]; target_size: side of the target; max_words: longer texts are cut.
    """

    def __init__(self, *, size: int, fill: float, target_size: int, max_words: int, vocabulary: Vocabulary) -> None:
        self.size = size
        self.fill = fill
        self.target_size = target_size
        self.max_words = max_words
        self.vocabulary = vocabulary

    def image(self, image: np.ndarray) -> tuple[Tensor, Letterbox]:
        """Return the input (3, size, size), RGB in [0, 1], of a uint8 picture (H, W, 3), and how it lies in it."""
        geometry = self.fit(height=image.shape[0], width=image.shape[1])
        return geometry.image(image, fill=self.fill), geometry

    def fit(self, *, height: int, width: int) -> Letterbox:
        """Return how `image` lays a picture of this size."""
        return Letterbox.fit(height=height, width=width, size=self.size)

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Return word ids (max_words,) int64 and their mask bool. Raises `UsageError` if the text has no word."""
        return self.vocabulary.encode(text, max_words=self.max_words)

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Return the soft target (target_size, target_size) float32 in [0, 1] of a bool mask (H, W)."""
        return own_geometry(geometry, Letterbox).mask(mask, size=self.target_size)


class LongestSidePreprocess:
    """Pictures scaled to a longest side, each in an input of its own; texts as ids of `vocabulary`; a `Preprocess`.

    longest: the longest side in pixels; multiple: what the sides of the input are multiples of; max_words: longer texts
    are cut. Targets have the input's size.
    """

    def __init__(self, *, longest: int, multiple: int, max_words: int, vocabulary: Vocabulary) -> None:
        self.longest = longest
        self.multiple = multiple
        self.max_words = max_words
        self.vocabulary = vocabulary

    def image(self, image: np.ndarray) -> tuple[Tensor, Fitted]:
        """Return the input (3, h, w), RGB in [0, 1], of a uint8 picture (H, W, 3), and how it lies in it."""
        geometry = self.fit(height=image.shape[0], width=image.shape[1])
        return geometry.image(image), geometry

    def fit(self, *, height: int, width: int) -> Fitted:
        """Return how `image` lays a picture of this size."""
        return Fitted.fit(height=height, width=width, longest=self.longest, multiple=self.multiple)

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Return word ids (max_words,) int64 and their mask bool. Raises `UsageError` if the text has no word."""
        return self.vocabulary.encode(text, max_words=self.max_words)

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Return the soft target (h, w) float32 in [0, 1] of a bool mask (H, W)."""
        return own_geometry(geometry, Fitted).mask(mask)


def to_item(sample: Sample, preprocess: Preprocess, *, features: Recall | None = None) -> Item:
    """Return `sample` as the tensors that `preprocess` makes of it, `features` in place of what they stand for.

    Raises `UsageError` if its text has no word, `DataError` if its features are not there.
    """
    seen = read = None
    if features is not None:
        seen = features.picture(sample.ids.image_id, mirrored=sample.mirrored)
        read = features.text(sample.text)
    image: Tensor
    geometry: Geometry
    if seen is None:
        image, geometry = preprocess.image(sample.image)
    else:
        image, geometry = torch.zeros(3, 0, 0), preprocess.fit(height=sample.mask.shape[0], width=sample.mask.shape[1])
    words, word_mask = preprocess.text(sample.text)
    target = preprocess.target(sample.mask, geometry)
    return Item(
        image=image,
        words=words,
        word_mask=word_mask,
        target=target,
        geometry=geometry,
        text=sample.text,
        ids=sample.ids,
        seen=seen,
        read=read,
    )


def flip(sample: Sample) -> Sample:
    """Return `sample` mirrored, left and right exchanged in its text."""
    return replace(
        sample,
        image=sample.image[:, ::-1].copy(),
        mask=sample.mask[:, ::-1].copy(),
        things=tuple((category, mask[:, ::-1].copy()) for category, mask in sample.things),
        text=swap_left_right(sample.text),
        mirrored=not sample.mirrored,
    )


def jitter_colour(image: np.ndarray, *, strength: float, generator: np.random.Generator) -> np.ndarray:
    """Return a uint8 picture (H, W, 3) with brightness, contrast and saturation each scaled by 1 ± `strength`.

    The hue stays: phrases name colours.
    """
    brightness, contrast, saturation = generator.uniform(1 - strength, 1 + strength, size=3).astype(np.float32)
    pixels = image.astype(np.float32) * brightness
    grey = pixels @ _LUMA
    pixels = (pixels - grey.mean()) * contrast + grey.mean()
    grey = (pixels @ _LUMA)[..., None]
    pixels = (pixels - grey) * saturation + grey
    return np.rint(pixels).clip(0, 255).astype(np.uint8)


def augment(sample: Sample, *, flip_share: float, colour: float, generator: np.random.Generator) -> Sample:
    """Return `sample` flipped with probability `flip_share` and its colours jittered by strength `colour`.

    The same draws are made whatever the settings, so that turning one off does not change the other.
    """
    if generator.random() < flip_share:
        sample = flip(sample)
    if colour > 0:
        sample = replace(sample, image=jitter_colour(sample.image, strength=colour, generator=generator))
    return sample
