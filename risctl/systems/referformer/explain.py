"""Computes what ReferFormer shows of a prediction: the masks, boxes and scores of all its queries over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from risctl.results import Prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class QueriesOverTime:
    """All queries in T frames (Wu et al., CVPR 2022).

    Attributes:
        scores: (T, Q) in [0, 1].
        boxes: (T, Q, 4), cx cy w h relative to the image.
        masks: Bool (T, Q, H, W), at the image's size.
    """

    kind: ClassVar[str] = "queries"
    scores: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray

    @property
    def chosen(self) -> int:
        """The query that is the answer: the one with the highest mean score."""
        return int(self.scores.mean(0).argmax())

    def to_dict(self) -> dict[str, Any]:
        """Returns the scores and the chosen query as JSON values."""
        return {"scores": [[round(float(value), 4) for value in row] for row in self.scores], "chosen": self.chosen}


def explain_queries(frames: Sequence[Prediction]) -> QueriesOverTime:
    """Returns the queries in `frames`, predictions of one expression that were decoded together."""
    return QueriesOverTime(
        scores=np.stack([frame.maps["query_scores"].reshape(-1) for frame in frames]),
        boxes=np.stack([frame.maps["query_boxes"].reshape(-1, 4) for frame in frames]),
        masks=np.stack([_masks(frame) for frame in frames]),
    )


def _masks(frame: Prediction) -> np.ndarray:
    if frame.geometry is None:
        raise ValueError("expected predictions that kept their geometry")
    masks = frame.maps["query_masks"]
    probability = torch.from_numpy(masks.reshape(-1, *masks.shape[-2:]))
    return frame.geometry.invert(probability).numpy() > frame.threshold
