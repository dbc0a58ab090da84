"""Computes what mini shows of a prediction: the boxes that were most probably referred to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from risctl.results import Prediction

# As many as there are colours to tell them apart by.
_MAX_BOXES = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxProbabilities:
    """The boxes that an expression most probably refers to, best first.

    Attributes:
        boxes: (N, 4), x1 y1 x2 y2 relative to the image.
        probabilities: (N,), how probably each is referred to, above 0.
        size: (height, width) of the image.
    """

    kind: ClassVar[str] = "choices"
    boxes: np.ndarray
    probabilities: np.ndarray
    size: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """Returns the probabilities and the boxes (x1 y1 x2 y2 in pixels) as JSON values."""
        sides = (self.size[1], self.size[0]) * 2
        return {
            "things": [
                {
                    "probability": round(float(probability), 6),
                    "box": [round(float(part) * side, 1) for part, side in zip(box, sides, strict=True)],
                }
                for probability, box in zip(self.probabilities, self.boxes, strict=True)
            ]
        }


def explain_boxes(prediction: Prediction) -> BoxProbabilities:
    """Returns the boxes that the expression of `prediction` was grounded in."""
    boxes, probabilities = prediction.maps["boxes"], prediction.maps["choice"]
    order = np.argsort(-probabilities, kind="stable")[:_MAX_BOXES]
    order = order[probabilities[order] > 0]
    height, width = prediction.probability.shape
    return BoxProbabilities(boxes=boxes[order], probabilities=probabilities[order], size=(height, width))
