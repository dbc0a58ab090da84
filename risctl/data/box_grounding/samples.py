"""Defines box-grounding samples: an expression, all boxes of an image, and those that it refers to, without pixels.

They train and measure the choice among objects separately from their detection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from risctl.language.flips import swap_left_right

UNKNOWN = -1
"""The category of a box of which only the corners are known."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageBoxes:
    """The N boxes of one image.

    Attributes:
        corners: Corners xyxy as fractions of the image's sides, float32 (N, 4).
        category_ids: Class index or `UNKNOWN`, int64 (N,).
        aspect: Width / height of the image.
        confidence: Probability that a box holds an object at all, float32 (N,); None: all are certain.
        category_share: Share of the class scores that belongs to `category_ids`, float32 (N,); the rest belongs to
            `second_category_ids`. None: all of them.
        second_category_ids: Index of the second class, int64 (N,).
        appearance: Shares of colour names, float32 (N, A), or None.
    """

    corners: np.ndarray
    category_ids: np.ndarray
    aspect: float
    confidence: np.ndarray | None = None
    category_share: np.ndarray | None = None
    second_category_ids: np.ndarray | None = None
    appearance: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.category_ids)

    def keep(self, index: np.ndarray) -> ImageBoxes:
        """Returns only the boxes `index`, int (M,)."""
        arrays = {name: getattr(self, name) for name in self.__slots__ if name != "aspect"}
        return replace(self, **{name: array[index] for name, array in arrays.items() if array is not None})

    def mirrored(self) -> ImageBoxes:
        """Returns the boxes of the mirror image."""
        x1, y1, x2, y2 = self.corners.T
        return replace(self, corners=np.stack([1 - x2, y1, 1 - x1, y2], 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BoxGroundingSample:
    """An expression about the boxes of an image.

    Attributes:
        boxes: All boxes of the image.
        text: The expression.
        targets: Indices of the boxes that it refers to, none for a no-target expression.
        colours: Colours that the expression names of its targets; None where it may name those of other objects.
    """

    boxes: ImageBoxes
    text: str
    targets: tuple[int, ...]
    colours: tuple[str, ...] | None = ()

    def mirrored(self) -> BoxGroundingSample:
        """Returns the sample of the mirror image, "left" and "right" exchanged in its text."""
        return replace(self, boxes=self.boxes.mirrored(), text=swap_left_right(self.text))

    def keep(self, index: np.ndarray) -> BoxGroundingSample:
        """Returns the sample with only the boxes `index`, which must include every target."""
        position = {int(old): new for new, old in enumerate(index)}
        return replace(self, boxes=self.boxes.keep(index), targets=tuple(position[target] for target in self.targets))


def chance_accuracy(samples: Sequence[BoxGroundingSample]) -> float:
    """Returns the accuracy of a random choice where each expression has one target: the mean of 1 / boxes."""
    return float(np.mean([1 / len(sample.boxes) for sample in samples])) if samples else 0.0
