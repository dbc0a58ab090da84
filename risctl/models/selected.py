"""Global-Local CLIP as a network that segments by text: CLIP scores the proposals of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from risctl.zeroshot.predictor import ZeroShotPredictor
from risctl.zeroshot.proposals.base import InputImage
from risctl.zeroshot.text_prompted import Candidates


@dataclass(frozen=True, slots=True)
class _Proposed:
    """Proposals, bool (N, H, W)."""

    masks: np.ndarray

    def __call__(self, positions: Sequence[int]) -> np.ndarray:
        return self.masks[list(positions)].astype(np.float32)


class Selected:
    """Selects one proposal a phrase; its score is its share of the similarity among all, which knows no "none"."""

    min_score = 0.0

    def __init__(self, predictor: ZeroShotPredictor) -> None:
        """Takes the predictor that selects."""
        self.name = predictor.describe()
        self._predictor = predictor

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        """Finds the proposals of an RGB image, uint8 (H, W, 3)."""
        self._predictor.set_image(InputImage(pixels=pixels))
        return pixels

    def find(self, encoded: np.ndarray, texts: Sequence[str]) -> list[Candidates]:
        """Returns the proposals as candidates, the selected one chosen."""
        masks = self._predictor.proposals.masks
        return [
            Candidates(
                scores=made.scores,
                draw=_Proposed(masks),
                chosen=() if made.chosen is None else (made.chosen,),
                presence=made.prediction.score,
            )
            for made in self._predictor.predict(texts)
        ]

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than CLIP reads."""
        return self._predictor.is_truncated(text)
