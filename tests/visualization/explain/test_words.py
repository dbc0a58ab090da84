"""The contact sheet of words that queries read."""

from __future__ import annotations

import numpy as np
import pytest

from risctl.inference.explanation import ExplainedPrediction
from risctl.results import Prediction
from risctl.systems.vlt.explain import QueryWords
from risctl.vision.drawing.heatmap import viridis
from risctl.visualization.explain.words import words_contact_sheet

IMAGE = np.full((60, 80, 3), 90, dtype=np.uint8)
MASK = np.zeros((60, 80), dtype=bool)
MASK[20:40, 30:50] = True
WORDS = ("the", "red", "cup", "here")


def sheet_of(
    words: tuple[str, ...], *, queries: int = 3, count: int | None = None, mask: np.ndarray = MASK
) -> np.ndarray:
    """Draws queries that read the second of `count` words most."""
    count = len(words) if count is None else count
    weights = np.full((queries, count), 0.1 / max(1, count - 1))
    weights[:, 1:2] = 0.9
    view = QueryWords(words=words, weights=weights, confidences=np.linspace(0.2, 0.7, queries), attention=np.eye(6, 8))
    return drawn(view, mask=mask)


def drawn(view: QueryWords, *, mask: np.ndarray = MASK) -> np.ndarray:
    prediction = Prediction(
        text=" ".join(view.words), probability=mask.astype(np.float32), threshold=0.5, score=1.0, box=None, image=IMAGE
    )
    return words_contact_sheet(ExplainedPrediction(frames=(prediction,), names=("x",), explanation=view, is_clip=False))


def count(sheet: np.ndarray, colour: tuple[int, ...]) -> int:
    return int((sheet == np.array(colour, dtype=np.uint8)).all(axis=2).sum())


def test_weights_and_the_highest_confidence_stand_out() -> None:
    sheet = sheet_of(WORDS)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    # One word of four is read most by every query, and is as yellow as the scale gets; one bar of three is orange.
    yellow = tuple(round(part) for part in viridis(np.array(1.0)).tolist())
    cells = count(sheet, yellow)
    assert cells > 3 * 1000
    more = sheet_of(WORDS, queries=6)
    assert count(more, yellow) == pytest.approx(2 * cells, rel=0.05)
    assert count(sheet, (230, 159, 0)) > 500 > count(sheet, (213, 94, 0))


def test_long_phrases_and_empty_answers_are_drawn() -> None:
    words = tuple(f"supercalifragilistic{n}" for n in range(20))
    sheet = sheet_of(words, queries=16, mask=np.zeros_like(MASK))
    assert sheet.shape[1] > 20 * 50
    flat = QueryWords(words=("x",), weights=np.zeros((1, 1)), confidences=np.zeros(1), attention=np.zeros((2, 2)))
    assert drawn(flat).shape[2] == 3


def test_words_and_weights_must_agree() -> None:
    with pytest.raises(ValueError, match="for 3 words"):
        sheet_of(("a", "b", "c"), count=4)
