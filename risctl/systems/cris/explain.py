"""Computes what CRIS shows of a prediction: how similar each pixel is to the sentence, and where each word is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from risctl.data.batch import Preprocess
from risctl.language.subword_vocabulary import SubwordVocabulary
from risctl.language.tokens import words_of
from risctl.results import Prediction
from risctl.systems.explanation import map_at_image_size


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSimilarity:
    """Pixels compared with the sentence and with its words (Wang et al., CVPR 2022, sections 3.3 and 3.4).

    Attributes:
        words: L tokens.
        sentence: Similarity of each pixel to the sentence, (h, w) in [0, 1], at the image's aspect ratio: the
            probability that is compared with the threshold.
        attention: The share of its attention that each pixel gives each token in the last decoder layer, (L, h, w).
        inside: Mean share of each token within the mask, (L,); NaN without a mask.
        outside: Mean share of each token outside it, (L,); NaN without an outside.
    """

    kind: ClassVar[str] = "similarity"
    words: tuple[str, ...]
    sentence: np.ndarray
    attention: np.ndarray
    inside: np.ndarray
    outside: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Returns each token's mean share inside and outside the mask, as JSON values; null where there is none."""
        return {
            "words": [
                {"word": word, "inside": _number(inside), "outside": _number(outside)}
                for word, inside, outside in zip(self.words, self.inside, self.outside, strict=True)
            ]
        }


def explain_similarity(prediction: Prediction, preprocess: Preprocess) -> PixelSimilarity:
    """Returns the similarities of `prediction`, whose expression was read by `preprocess`."""
    if prediction.geometry is None:
        raise ValueError("expected a prediction that kept its geometry")
    words = tokens_of(prediction.text, preprocess)
    count = len(words)
    shares = prediction.maps["word_attention"][:count]
    attention = np.stack([map_at_image_size(share, prediction.geometry) for share in shares])
    rows = np.linspace(0, prediction.mask.shape[0] - 1, attention.shape[1]).round().astype(int)
    columns = np.linspace(0, prediction.mask.shape[1] - 1, attention.shape[2]).round().astype(int)
    mask = prediction.mask[rows][:, columns]
    return PixelSimilarity(
        words=words,
        sentence=prediction.probability[rows][:, columns],
        attention=attention,
        inside=_means(attention, mask),
        outside=_means(attention, ~mask),
    )


def tokens_of(text: str, preprocess: Preprocess) -> tuple[str, ...]:
    """Returns the tokens of `text` as `preprocess` reads them, start and end included."""
    ids, mask = preprocess.text(text)
    count = int(mask.nonzero().max()) + 1
    vocabulary = getattr(preprocess, "vocabulary", None)
    if not isinstance(vocabulary, SubwordVocabulary):
        return tuple(words_of(text)[:count])
    return tuple(vocabulary.words[number].removesuffix("</w>") for number in ids[:count].tolist())


def _means(attention: np.ndarray, mask: np.ndarray) -> np.ndarray:
    means: np.ndarray = attention[:, mask].mean(axis=1) if mask.any() else np.full(len(attention), np.nan)
    return means


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
