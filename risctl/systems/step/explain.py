"""Computes what STEP shows of a prediction: for each step the heatmap, the mask's map and the weights of the words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from risctl.data.batch import Preprocess
from risctl.language.tokens import words_of
from risctl.results import Prediction
from risctl.systems.explanation import map_at_image_size


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """One step.

    Attributes:
        level: The level of the image's pyramid, 1 to 5.
        heatmap: Q, cosine similarities (h, w) of the text with this level, of the image alone.
        probability: P, the map (h, w) after this step, in [0, 1], of the image alone.
        weights: Weights of the words (L,) in the text vector; their sum is 1.
    """

    level: int
    heatmap: np.ndarray
    probability: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """All steps of a prediction (Chen et al., ICCV 2019).

    Attributes:
        words: The words that the steps weigh, in order.
        steps: The steps, fold by fold.
    """

    kind: ClassVar[str] = "steps"
    words: tuple[str, ...]
    steps: tuple[StepView, ...]

    @property
    def levels_per_fold(self) -> int:
        """How many steps a fold has."""
        return len({step.level for step in self.steps}) or 1

    def to_dict(self) -> dict[str, Any]:
        """Returns the level and the weights of the words of each step, as JSON values."""
        return {
            "steps": [
                {"step": number, "level": step.level, "words": _numbered(self.words, step.weights)}
                for number, step in enumerate(self.steps, start=1)
            ]
        }


def explain_steps(prediction: Prediction, preprocess: Preprocess) -> Steps:
    """Returns the steps of `prediction`, whose expression was read by `preprocess`."""
    if prediction.geometry is None:
        raise ValueError("expected a prediction that kept its geometry")
    maps = prediction.maps
    count = int(preprocess.text(prediction.text)[1].sum())
    return Steps(
        words=tuple(words_of(prediction.text)[:count]),
        steps=tuple(
            StepView(
                level=int(level),
                heatmap=map_at_image_size(heatmap, prediction.geometry),
                probability=map_at_image_size(probability, prediction.geometry),
                weights=weights[:count],
            )
            for level, heatmap, probability, weights in zip(
                maps["levels"], maps["heatmaps"], maps["masks"], maps["word_attention"], strict=True
            )
        ),
    )


def _numbered(words: tuple[str, ...], weights: np.ndarray) -> dict[str, float]:
    pairs = zip(words, weights, strict=True)
    return {f"{position} {word}": round(float(weight), 6) for position, (word, weight) in enumerate(pairs, start=1)}
