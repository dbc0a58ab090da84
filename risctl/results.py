"""Holds what systems return: the mask of an expression, and the detections of a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from risctl.vision import rle
from risctl.vision.geometry import Geometry


@dataclass(slots=True, kw_only=True)
class Prediction:
    """The mask of one expression in one image.

    Attributes:
        text: The expression.
        probability: Float32 (H, W), at the image's own size.
        threshold: A pixel belongs to the mask if its probability is above it.
        score: In [0, 1]: the system's own score, else the mean probability over the mask (0 if the mask is empty).
        box: (x, y, width, height) of the mask in pixels; None if the mask is empty.
        matched: False where the system says that the expression refers to nothing in the image; the mask is then
            empty.
        maps: Named arrays that explain the prediction (attention, scores of queries, …).
        image: The RGB image, uint8 (H, W, 3), where the predictor kept it.
        geometry: How the image lies in the network's input; its `invert` brings `maps` to the image's size.
    """

    text: str
    probability: np.ndarray
    threshold: float
    score: float
    box: tuple[float, float, float, float] | None
    matched: bool = True
    maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    image: np.ndarray | None = None
    geometry: Geometry | None = None

    @property
    def mask(self) -> np.ndarray:
        """The mask, bool (H, W)."""
        return self.probability > self.threshold

    def rle(self) -> rle.RLE:
        """Returns the mask as COCO RLE, ready for JSON."""
        return rle.encode(self.mask)

    def overlay(self, image: np.ndarray | None = None) -> np.ndarray:
        """Returns the image with the mask drawn on it.

        Args:
            image: Uint8 RGB (H, W, 3), in place of the image that was kept.

        Returns:
            Uint8 RGB (H, W, 3).

        Raises:
            ValueError: No image was kept and none is given.
        """
        from risctl.vision.drawing.overlays import overlay  # drawing is loaded only where something is drawn

        base = self.image if image is None else image
        if base is None:
            raise ValueError("this prediction kept no image; call overlay(image)")
        return overlay(base, [self.mask], [self.text])


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """One instance of a category that was named.

    Attributes:
        name: The category.
        score: In [0, 1].
        box: (x, y, width, height) in pixels of the image.
        segmentation: The mask as COCO RLE.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]
    segmentation: rle.RLE
