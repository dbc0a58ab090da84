"""Computes what VLT shows of a prediction: the words that each query reads, its confidence, and where queries look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from risctl.data.batch import Preprocess
from risctl.errors import UsageError
from risctl.language.tokens import words_of
from risctl.results import Prediction
from risctl.systems.explanation import map_at_image_size

PADDING = "(padding)"
"""Stands for all positions beyond the expression: the published VLT attends to them as to words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryWords:
    """The queries of a prediction (Ding et al., ICCV 2021, sections 3.2 and 3.3).

    Attributes:
        words: L words, the columns of `weights`.
        weights: Attention of each query to the words, (Q, L); each row's sum is 1.
        confidences: How much the response of each query counts, (Q,) in [0, 1].
        attention: Where the queries look, (h, w), weighted by their confidences, at the image's aspect ratio.
    """

    kind: ClassVar[str] = "words"
    words: tuple[str, ...]
    weights: np.ndarray
    confidences: np.ndarray
    attention: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Returns the confidence and the words' weights of each query, as JSON values."""
        return {
            "queries": [
                {"query": number, "confidence": round(float(confidence), 6), "words": self._numbered(row)}
                for number, (confidence, row) in enumerate(zip(self.confidences, self.weights, strict=True))
            ]
        }

    def _numbered(self, row: np.ndarray) -> dict[str, float]:
        return {
            word if word == PADDING else f"{position} {word}": round(float(weight), 6)
            for position, (word, weight) in enumerate(zip(self.words, row, strict=True), start=1)
        }


def explain_words(prediction: Prediction, preprocess: Preprocess) -> QueryWords:
    """Returns what the queries of `prediction` read, whose expression was read by `preprocess`."""
    if prediction.geometry is None:
        raise ValueError("expected a prediction that kept its geometry")
    maps = prediction.maps
    if "confidences" not in maps:
        raise UsageError("expected a VLT with queries to show; this one has convolutions (model.convolutions)")
    count = int(preprocess.text(prediction.text)[1].sum())
    words, weights = words_of(prediction.text)[:count], maps["word_weights"][:, :count]
    beyond = maps["word_weights"][:, count:].sum(axis=1, keepdims=True)
    if beyond.shape[1] and float(beyond.max()) > 0:
        words, weights = [*words, PADDING], np.concatenate([weights, beyond], axis=1)
    return QueryWords(
        words=tuple(words),
        weights=weights,
        confidences=maps["confidences"],
        attention=map_at_image_size(maps["attention"], prediction.geometry),
    )
