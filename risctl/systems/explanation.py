"""Defines what a system can show of how it came to a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from PIL import Image

from risctl.results import Prediction
from risctl.vision.geometry import Geometry

# The longest side at which maps are kept for drawing; at a photograph's own size, 25 maps would take gigabytes.
_LONGEST_SIDE = 480


class Explanation(Protocol):
    """What a system shows of a prediction: literal arrays and words, ready to be drawn.

    Attributes:
        kind: What is shown, a key of `visualization.explain.sheets.SHEETS`.
    """

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Returns what is shown as JSON values."""


@runtime_checkable
class Explainable(Protocol):
    """Can show how it came to a prediction.

    Attributes:
        explanation_kind: The `kind` of its explanations.
    """

    explanation_kind: str

    def explain(self, frames: Sequence[Prediction]) -> Explanation:
        """Computes what there is to show, from the predictions' `maps` alone.

        Args:
            frames: Predictions of one expression that were made: one for an image, one per frame for a clip.
        """


def map_at_image_size(values: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Returns a map (h, w) of the network's input as float32 (H, W) of the image, scaled down to what drawing needs."""
    full = geometry.invert(torch.from_numpy(np.ascontiguousarray(values))[None])[0].numpy()
    scale = min(1.0, _LONGEST_SIDE / max(full.shape))
    size = (max(1, round(full.shape[1] * scale)), max(1, round(full.shape[0] * scale)))
    return np.asarray(Image.fromarray(full).resize(size, Image.Resampling.BILINEAR))
