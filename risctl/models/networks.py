"""Puts together what finds, what segments and what chooses, as networks that segment by text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from risctl.models.batches import encoded_images
from risctl.models.instances import Draw, InstanceFinder, Instances, MaskMaker, PhraseFinder
from risctl.models.nouns import categories_of
from risctl.zeroshot.text_prompted import Candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundImage:
    """An image whose instances were found.

    Attributes:
        instances: The instances.
        draw: Draws their masks.
    """

    instances: Instances
    draw: Draw


class DrawnFinder:
    """Finds the instances of trained categories and draws their masks, with a segmenter where it finds boxes only."""

    def __init__(self, finder: InstanceFinder, masks: MaskMaker | None) -> None:
        self.finder = finder
        self.name = finder.name if masks is None else f"{finder.name} + {masks.name}"
        self._masks = masks

    def encode(self, pixels: np.ndarray) -> FoundImage:
        """Finds the instances of an RGB image, uint8 (H, W, 3)."""
        return self._drawn(self.finder.find(pixels), pixels)

    def encode_images(self, images: Sequence[np.ndarray]) -> list[FoundImage]:
        """Returns what `encode` makes of each image."""
        together = getattr(self.finder, "find_images", None)
        found = [self.finder.find(pixels) for pixels in images] if together is None else together(images)
        return [self._drawn(instances, pixels) for instances, pixels in zip(found, images, strict=True)]

    def _drawn(self, instances: Instances, pixels: np.ndarray) -> FoundImage:
        return FoundImage(instances=instances, draw=drawer(instances, pixels, self._masks))


class ByCategory:
    """Answers a phrase with the instances of the category that its head noun names: place and relation are not read."""

    def __init__(self, found: DrawnFinder) -> None:
        self.name = found.name
        self.min_score = found.finder.min_score
        self.labels = found.finder.labels
        self._found = found

    def encode(self, pixels: np.ndarray) -> FoundImage:
        """Finds the instances of an RGB image, uint8 (H, W, 3)."""
        return self._found.encode(pixels)

    def encode_images(self, images: Sequence[np.ndarray]) -> list[FoundImage]:
        """Returns what `encode` makes of each image."""
        return self._found.encode_images(images)

    def find(self, encoded: FoundImage, texts: Sequence[str]) -> list[Candidates]:
        """Returns every instance as a candidate of each text; those of other categories score 0."""
        found = []
        for text in texts:
            wanted = categories_of(text, self.labels)
            fits = np.array([name in wanted for name in encoded.instances.names], dtype=bool)
            scores = np.where(fits, encoded.instances.scores, 0).astype(np.float32)
            found.append(Candidates(scores=scores, draw=encoded.draw))
        return found

    def is_truncated(self, text: str) -> bool:
        """Returns False: only the noun is read, wherever it stands."""
        return False


class ByPhrase:
    """Answers a phrase with the boxes that a detector finds by it, segmented."""

    def __init__(self, finder: PhraseFinder, masks: MaskMaker) -> None:
        self.name = f"{finder.name} + {masks.name}"
        self.min_score = finder.min_score
        self._finder, self._masks = finder, masks

    def encode(self, pixels: np.ndarray) -> tuple[Any, Any]:
        """Prepares an RGB image, uint8 (H, W, 3), for the detector and the segmenter."""
        return self.encode_images([pixels])[0]

    def encode_images(self, images: Sequence[np.ndarray]) -> list[tuple[Any, Any]]:
        """Returns what `encode` makes of each image; the segmenter encodes one where it has a box to draw."""
        found = encoded_images(self._finder, images)
        return [(one, Lazy(partial(self._masks.encode, pixels))) for one, pixels in zip(found, images, strict=True)]

    def find(self, encoded: tuple[Any, Any], texts: Sequence[str]) -> list[Candidates]:
        """Returns the boxes of each text as its candidates."""
        image, embedding = encoded
        return [
            Candidates(scores=one.scores, draw=FromBoxes(one.boxes, self._masks, embedding))
            for one in self._finder.find(image, texts)
        ]

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than the detector reads."""
        return self._finder.is_truncated(text)


class Lazy:
    """Makes a value when it is first asked for: an image without a box is not encoded for masks."""

    def __init__(self, make: Any) -> None:
        self._make, self._made = make, False
        self._value: Any = None

    def __call__(self) -> Any:
        """Returns the value."""
        if not self._made:
            self._value, self._made = self._make(), True
        return self._value


@dataclass(frozen=True, slots=True)
class FromBoxes:
    """Draws the masks of boxes (N, 4)."""

    boxes: np.ndarray
    masks: MaskMaker
    embedding: Lazy

    def __call__(self, positions: Sequence[int]) -> np.ndarray:
        """Returns the probabilities, float32 (n, H, W), of the boxes at `positions`."""
        return self.masks.masks(self.embedding(), self.boxes[list(positions)])


def drawer(instances: Instances, pixels: np.ndarray, masks: MaskMaker | None) -> Draw:
    """Returns what draws the masks of instances: the finder itself, else a segmenter of boxes."""
    if instances.draw is not None:
        return instances.draw
    if masks is None:
        raise TypeError("expected a segmenter, since the finder draws no masks")
    return FromBoxes(instances.boxes, masks, Lazy(partial(masks.encode, pixels)))
