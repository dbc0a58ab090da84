"""Defines the instances that foreign models find, and what finds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Draw = Callable[[Sequence[int]], np.ndarray]
"""Takes positions of instances and returns their probabilities, float32 (n, H, W)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """The instances that a model finds in one image.

    Attributes:
        boxes: Float32 (N, 4), x1 y1 x2 y2 in pixels, within the image.
        scores: Float32 (N,) in [0, 1].
        names: What each is called: its category, or the noun that was asked for.
        draw: Draws masks; None where the model finds boxes only.
    """

    boxes: np.ndarray
    scores: np.ndarray
    names: tuple[str, ...]
    draw: Draw | None = None

    def __len__(self) -> int:
        return len(self.scores)


class InstanceFinder(Protocol):
    """Finds the instances of categories that it was trained on, in an image.

    Attributes:
        name: How reports name it.
        labels: The categories.
        min_score: The score from which its publisher takes an instance as found.
        draws: Whether it draws masks itself.
    """

    name: str
    labels: tuple[str, ...]
    min_score: float
    draws: bool

    def find(self, pixels: np.ndarray) -> Instances:
        """Returns the instances in an RGB image, uint8 (H, W, 3), best first."""


class PhraseFinder(Protocol):
    """Finds boxes by a text.

    Attributes:
        name: How reports name it.
        min_score: The score from which its publisher takes a box as found.
        draws: Whether it draws masks itself.
    """

    name: str
    min_score: float
    draws: bool

    def encode(self, pixels: np.ndarray) -> Any:
        """Prepares an RGB image, uint8 (H, W, 3)."""

    def find(self, encoded: Any, texts: Sequence[str]) -> list[Instances]:
        """Returns the boxes of each text, best first."""

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than it reads."""


class MaskMaker(Protocol):
    """Segments what boxes hold."""

    name: str

    def encode(self, pixels: np.ndarray) -> Any:
        """Encodes an RGB image, uint8 (H, W, 3)."""

    def masks(self, encoded: Any, boxes: np.ndarray) -> np.ndarray:
        """Returns probabilities, float32 (N, H, W), of the objects in `boxes` (N, 4), x1 y1 x2 y2 in pixels."""


def clipped(boxes: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Returns boxes (N, 4), x1 y1 x2 y2 in pixels, cut at the image's edges, as float32."""
    return boxes.astype(np.float32).clip(0, np.array([width, height, width, height], dtype=np.float32))
