"""The predictor of foreign networks: which candidates make up the mask, and when there is no match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from risctl.errors import UsageError
from risctl.models.predictor import PromptedPredictor
from risctl.zeroshot.text_prompted import Candidates

SIZE = (6, 10)


@dataclass
class _Stripes:
    """Every candidate is a column; its score stands in `scores`."""

    scores: tuple[float, ...]
    chosen: tuple[int, ...] | None = None
    presence: float | None = None
    name: str = "stripes"
    min_score: float = 0.5
    encodings: int = 0

    def encode(self, pixels: np.ndarray) -> np.ndarray:
        self.encodings += 1
        return pixels

    def find(self, encoded: np.ndarray, texts: Sequence[str]) -> list[Candidates]:
        def draw(positions: Sequence[int]) -> np.ndarray:
            masks = np.zeros((len(positions), *SIZE), dtype=np.float32)
            for row, position in enumerate(positions):
                masks[row, :, position] = 0.9
            return masks

        scores = np.array(self.scores, dtype=np.float32)
        return [Candidates(scores=scores, draw=draw, chosen=self.chosen, presence=self.presence) for _ in texts]

    def is_truncated(self, text: str) -> bool:
        return len(text) > 20


IMAGE = np.zeros((*SIZE, 3), dtype=np.uint8)


def _columns(network: _Stripes, **options: float | bool | None) -> list[int]:
    [found] = PromptedPredictor(network, name="stripes", **options).predict(IMAGE, "a stripe")  # type: ignore[arg-type]
    assert found.matched == bool(found.mask.any())
    return np.flatnonzero(found.mask.any(0)).tolist()


def test_it_says_the_threshold_that_holds() -> None:
    predictor = PromptedPredictor(_Stripes((0.9,)), name="stripes")  # type: ignore[arg-type]
    predictor.min_score = 0.25  # as a calibration sets it
    assert "instances that score 0.25" in predictor.describe()


def test_all_above_the_threshold_make_up_the_mask() -> None:
    assert _columns(_Stripes((0.2, 0.9, 0.5, 0.49))) == [1, 2]
    assert _columns(_Stripes((0.2, 0.9, 0.5, 0.49)), surest=True) == [1]
    # More than are drawn together.
    assert _columns(_Stripes((0.6,) * 10)) == list(range(10))


def test_below_the_threshold_is_no_match_unless_every_phrase_is_answered() -> None:
    network = _Stripes((0.2, 0.4))
    assert _columns(network) == []
    assert _columns(network, no_target_threshold=0.0) == [1]
    assert _columns(network, no_target_threshold=0.3) == [1]
    assert _columns(_Stripes((0.9, 0.6)), no_target_threshold=0.95) == []
    for nothing in (_Stripes(()), _Stripes((0.0, 0.0)), _Stripes((float("nan"),))):
        assert _columns(nothing, no_target_threshold=0.0) == []


def test_what_a_chooser_chose_is_the_answer_and_its_presence_decides() -> None:
    network = _Stripes((0.1, 0.9, 0.2), chosen=(0, 2), presence=0.7)
    assert _columns(network) == [0, 2]
    assert _columns(network, surest=True) == [0]
    assert _columns(network, no_target_threshold=0.8) == []
    [found] = PromptedPredictor(network, name="stripes").predict(IMAGE, "a stripe")
    assert found.score == pytest.approx(0.7)


def test_an_image_stays_set_and_several_are_taken() -> None:
    network = _Stripes((0.9,))
    predictor = PromptedPredictor(network, name="stripes")
    with pytest.raises(UsageError, match="no image is set"):
        predictor.predict_texts("a stripe")
    two = predictor.predict([IMAGE, IMAGE], ["a stripe", "a column"])
    assert [[one.text for one in found] for found in two] == [["a stripe", "a column"]] * 2  # type: ignore[union-attr]
    assert network.encodings == 2
    assert predictor.predict_texts("another")[0].box == (0, 0, 1, 6)
    assert network.encodings == 2
    predictor.reset_image()
    with pytest.raises(UsageError, match="no image is set"):
        predictor.predict_texts("a stripe")


def test_wrong_arguments_are_told() -> None:
    predictor = PromptedPredictor(_Stripes((0.9,)), name="stripes")
    for texts, told in (([], "at least one phrase"), (["a", " ?"], "one word"), ([3], "as a string")):
        with pytest.raises(UsageError, match=told):
            predictor.predict(IMAGE, texts)  # type: ignore[arg-type]
    for options in ({"threshold": 1.0}, {"no_target_threshold": 1.5}, {"threshold": float("nan")}):
        with pytest.raises(UsageError, match="threshold"):
            PromptedPredictor(_Stripes((0.9,)), name="stripes", **options)  # type: ignore[arg-type]
    assert predictor.warnings("short") == []
    assert "cut" in predictor.warnings("a phrase that is too long")[0]
