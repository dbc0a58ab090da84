"""Turns images, expressions and masks into a network's inputs: one class per way of resizing, texts by a vocabulary."""

from __future__ import annotations

import copy

import numpy as np
from torch import Tensor
from torch.nn import functional

from risctl.data.batch import checked_geometry
from risctl.language.vocabulary import Vocabulary
from risctl.vision.geometry import Geometry
from risctl.vision.resize import (
    ImageRegion,
    Letterbox,
    PaddedShortest,
    ResizeLongest,
    ResizeShortest,
    Square,
    TrainingResize,
)

_LONGEST_TEXT = 1024
"""Tokens of a text that are encoded before it is cut, so that what ends it is cut with the rest."""


class _VocabularyPreprocess:
    """What the classes below share: expressions as word ids.

    The attributes of a subclass that are numbers are part of the key of cached features.
    """

    def __init__(self, *, max_words: int, vocabulary: Vocabulary) -> None:
        self.max_words = max_words
        self.vocabulary = vocabulary

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Encodes an expression, truncated after `max_words` words.

        Args:
            text: The expression.

        Returns:
            Word ids, int64 (max_words,), and their mask, bool (max_words,), True where a word is.

        Raises:
            UsageError: The text has no word.
        """
        return self.vocabulary.encode(text, max_words=self.max_words)


class PaddedTextPreprocess(_VocabularyPreprocess):
    """What is shared by systems that read expressions of one length, padding included."""

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Encodes an expression as every preprocess does, and pads it to `max_words` where the vocabulary does not."""
        ids, mask = super().text(text)
        missing = self.max_words - len(ids)
        # VLT reads padding like words: expressions of one length make a result independent of its batch.
        return functional.pad(ids, (0, missing)), functional.pad(mask, (0, missing))


class LetterboxPreprocess(PaddedTextPreprocess):
    """Letterboxes images into a square; a `Preprocess`."""

    def __init__(self, *, size: int, fill: float, target_size: int, max_words: int, vocabulary: Vocabulary) -> None:
        """Creates the preprocess.

        Args:
            size: Side of the input in pixels.
            fill: Value of the padding, in [0, 1].
            target_size: Side of the target in pixels.
            max_words: Number of words after which an expression is truncated.
            vocabulary: Maps words to ids.
        """
        self.size = size
        self.fill = fill
        self.target_size = target_size
        super().__init__(max_words=max_words, vocabulary=vocabulary)

    def image(self, image: np.ndarray) -> tuple[Tensor, Letterbox]:
        """Returns the input (3, size, size), RGB in [0, 1], of an image, uint8 (H, W, 3), and its geometry."""
        geometry = self.fit(height=image.shape[0], width=image.shape[1])
        return geometry.image(image, fill=self.fill), geometry

    def fit(self, *, height: int, width: int) -> Letterbox:
        """Returns the geometry of an image of this size."""
        return Letterbox.fit(height=height, width=width, size=self.size)

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Returns the soft target, float32 (target_size, target_size) in [0, 1], of a mask, bool (H, W)."""
        return checked_geometry(geometry, Letterbox).mask(mask, size=self.target_size)


class SquarePreprocess(_VocabularyPreprocess):
    """Resizes images to a square, their aspect ratio not kept; a `Preprocess`. Targets have the input's size.

    Expressions have `max_words` tokens, padded with 0. A longer one is cut as published: its end token is cut off too.
    """

    def __init__(self, *, size: int, max_words: int, vocabulary: Vocabulary) -> None:
        """Creates the preprocess.

        Args:
            size: Side of the input in pixels.
            max_words: Number of tokens, start and end included, of every expression.
            vocabulary: Maps words to ids.
        """
        self.size = size
        super().__init__(max_words=max_words, vocabulary=vocabulary)

    def image(self, image: np.ndarray) -> tuple[Tensor, Square]:
        """Returns the input (3, size, size), RGB in [0, 1], of an image, uint8 (H, W, 3), and its geometry."""
        geometry = self.fit(height=image.shape[0], width=image.shape[1])
        return geometry.image(image), geometry

    def fit(self, *, height: int, width: int) -> Square:
        """Returns the geometry of an image of this size."""
        return Square.fit(height=height, width=width, size=self.size)

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Returns token ids, int64 (max_words,), and their mask. Raises `UsageError` if the text has no word."""
        ids, mask = self.vocabulary.encode(text, max_words=max(self.max_words, _LONGEST_TEXT))
        ids, mask = ids[: self.max_words], mask[: self.max_words]
        missing = self.max_words - len(ids)
        return functional.pad(ids, (0, missing)), functional.pad(mask, (0, missing))

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Returns the target, float32 (size, size) of 0 and 1, of a mask, bool (H, W): its nearest pixels."""
        return checked_geometry(geometry, Square).mask(mask)


class LongestSidePreprocess(_VocabularyPreprocess):
    """Resizes images to a longest side, without a common input size; a `Preprocess`. Targets have the input's size."""

    def __init__(self, *, longest: int, multiple: int, max_words: int, vocabulary: Vocabulary) -> None:
        """Creates the preprocess.

        Args:
            longest: Longest side of the resized image in pixels.
            multiple: Number that the sides of the padded input are multiples of.
            max_words: Number of words after which an expression is truncated.
            vocabulary: Maps words to ids.
        """
        self.longest = longest
        self.multiple = multiple
        super().__init__(max_words=max_words, vocabulary=vocabulary)

    def image(self, image: np.ndarray) -> tuple[Tensor, ResizeLongest]:
        """Returns the input (3, h, w), RGB in [0, 1], of an image, uint8 (H, W, 3), and its geometry."""
        geometry = self.fit(height=image.shape[0], width=image.shape[1])
        return geometry.image(image), geometry

    def fit(self, *, height: int, width: int) -> ResizeLongest:
        """Returns the geometry of an image of this size."""
        return ResizeLongest.fit(height=height, width=width, longest=self.longest, multiple=self.multiple)

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Returns the soft target, float32 (h, w) in [0, 1], of a mask, bool (H, W)."""
        return checked_geometry(geometry, ResizeLongest).mask(mask)


class BoundedSidesPreprocess(LongestSidePreprocess):
    """Resizes images until the shortest side is `short` or the longest `longest`, whichever comes first."""

    def __init__(self, *, short: int, longest: int, multiple: int, max_words: int, vocabulary: Vocabulary) -> None:
        """Creates the preprocess; `short` and `longest` are pixels, the rest is as in `LongestSidePreprocess`."""
        super().__init__(longest=longest, multiple=multiple, max_words=max_words, vocabulary=vocabulary)
        self.short = short

    def fit(self, *, height: int, width: int) -> ResizeLongest:
        """Returns the geometry of an image of this size."""
        longest = min(self.longest, round(self.short * max(height, width) / min(height, width)))
        return ResizeLongest.fit(height=height, width=width, longest=longest, multiple=self.multiple)


class ShortSidePreprocess(_VocabularyPreprocess):
    """Resizes images to a shortest side; a `Resizable` one. Targets have the input's size."""

    region: ImageRegion | None = None
    """The part of each image that is shown, None for all of it."""

    training = False
    """Whether it prepares images for training, whose inputs go back to no image."""

    def __init__(
        self,
        *,
        short: int,
        longest: int | None,
        max_words: int,
        vocabulary: Vocabulary,
        multiple: int = 1,
        nearest: bool = False,
        lowercase: bool = True,
    ) -> None:
        """Creates the preprocess.

        Args:
            short: Shortest side of the input in pixels.
            longest: Pixels that the other side must not exceed; the shortest becomes less instead. None: no bound.
            max_words: Number of tokens after which an expression is truncated.
            vocabulary: Maps words to ids.
            multiple: Number that the sides of the input are padded to multiples of; parts of images are not padded.
            nearest: Whether masks are brought from the input's size to the image's by the nearest pixel.
            lowercase: Whether expressions are put in lower case.
        """
        self.short = short
        self.longest = longest
        self.multiple = multiple
        self.nearest = nearest
        self.lowercase = lowercase
        super().__init__(max_words=max_words, vocabulary=vocabulary)

    def with_size(self, short: int, *, longest: int | None, region: ImageRegion | None = None) -> ShortSidePreprocess:
        """Returns this preprocess for training, with another shortest side and, unless it is None, another bound.

        Its images are uint8, and its targets bool, until the batch is moved.

        Args:
            short: Shortest side of the input in pixels.
            longest: Pixels that the other side must not exceed.
            region: The part of each image that is shown, None for all of it.
        """
        changed = copy.copy(self)
        changed.short = short
        changed.longest = self.longest if longest is None else longest
        changed.region, changed.training = region, True
        return changed

    def image(self, image: np.ndarray) -> tuple[Tensor, ResizeShortest]:
        """Returns the input (3, h, w), RGB, of an image, uint8 (H, W, 3), and its geometry.

        Values are in [0, 1], or uint8 of a preprocess for training.
        """
        geometry = self.fit(height=image.shape[0], width=image.shape[1])
        return geometry.image(image), geometry

    def fit(self, *, height: int, width: int) -> ResizeShortest:
        """Returns the geometry of an image of this size."""
        if self.region is not None:
            height, width = self.region.height, self.region.width
        geometry = ResizeShortest.fit(height=height, width=width, short=self.short, longest=self.longest)
        if self.training:
            return TrainingResize.of(geometry, region=self.region)
        if self.multiple == 1 and not self.nearest:
            return geometry
        return PaddedShortest.padded(geometry, multiple=self.multiple, nearest=self.nearest)

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Returns token ids, int64 (L,), and their mask, bool (L,). Raises `UsageError` if the text has no word."""
        # RoBERTa distinguishes cases, and the texts that it was fine-tuned on are lowercase.
        return super().text(text.lower() if self.lowercase else text)

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Returns the target (h, w) of a mask, bool (H, W): float32 of 0 and 1, or bool where it is for training."""
        return checked_geometry(geometry, ResizeShortest).mask(mask)
