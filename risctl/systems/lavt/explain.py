"""Computes what LAVT shows of a prediction: the words that each stage reads, where, and how far its gate opens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from risctl.data.transforms.preprocess import SquarePreprocess
from risctl.language.subword_vocabulary import SubwordVocabulary
from risctl.language.tokens import words_of
from risctl.results import Prediction
from risctl.systems.explanation import map_at_image_size


@dataclass(frozen=True, slots=True, kw_only=True)
class StageView:
    """One stage of the backbone.

    Attributes:
        attention: Where the stage reads each token, (L, h, w) at the image's aspect ratio; over tokens it sums to 1.
        gate: How far the gate behind the stage opens, (h, w) in [0, 1]; None of the last stage, which has none.
    """

    attention: np.ndarray
    gate: np.ndarray | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageWords:
    """The stages of a prediction (Yang et al., CVPR 2022, sections 3.1 and 3.2).

    Attributes:
        words: The L tokens that were read.
        stages: The stages, finest first.
        in_mask: Shares of the tokens among the attention of the mask's cells, (stages, L); of all cells where the mask
            is empty.
        overall: Shares of the tokens among the attention of all cells, (stages, L).
    """

    kind: ClassVar[str] = "stages"
    words: tuple[str, ...]
    stages: tuple[StageView, ...]
    in_mask: np.ndarray
    overall: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Returns the gate and the words' shares of each stage, as JSON values."""
        return {
            "stages": [
                {
                    "stage": number,
                    "gate": None if stage.gate is None else round(float(stage.gate.mean()), 6),
                    "words": self._numbered(self.overall[number - 1]),
                    "words_in_mask": self._numbered(self.in_mask[number - 1]),
                }
                for number, stage in enumerate(self.stages, start=1)
            ]
        }

    def _numbered(self, shares: np.ndarray) -> dict[str, float]:
        pairs = zip(self.words, shares, strict=True)
        return {f"{position} {word}": round(float(share), 6) for position, (word, share) in enumerate(pairs, start=1)}


def explain_stages(prediction: Prediction, preprocess: SquarePreprocess) -> StageWords:
    """Returns what the stages of `prediction` read, whose expression was read by `preprocess`."""
    if prediction.geometry is None:
        raise ValueError("expected a prediction that kept its geometry")
    maps, geometry = prediction.maps, prediction.geometry
    words = _tokens(prediction.text, preprocess)
    count = sum(name.startswith("words_") for name in maps)
    stages, in_mask, overall = [], [], []
    mask = map_at_image_size(maps["words_1"][..., 0], geometry).shape
    found = _resized_mask(prediction.mask, mask)
    for number in range(1, count + 1):
        attention = maps[f"words_{number}"][..., : len(words)]
        sized = np.stack([map_at_image_size(attention[..., token], geometry) for token in range(len(words))])
        gate = maps.get(f"gate_{number}")
        stages.append(StageView(attention=sized, gate=None if gate is None else map_at_image_size(gate, geometry)))
        overall.append(sized.mean(axis=(1, 2)))
        in_mask.append(sized[:, found].mean(axis=1) if found.any() else overall[-1])
    return StageWords(words=words, stages=tuple(stages), in_mask=np.stack(in_mask), overall=np.stack(overall))


def _tokens(text: str, preprocess: SquarePreprocess) -> tuple[str, ...]:
    ids, mask = preprocess.text(text)
    count = int(mask.sum())
    if isinstance(preprocess.vocabulary, SubwordVocabulary):
        return tuple(preprocess.vocabulary.words[number] for number in ids[:count].tolist())
    return tuple(words_of(text)[:count])


def _resized_mask(mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    rows, columns = (np.arange(new) * old // new for new, old in zip(shape, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]
