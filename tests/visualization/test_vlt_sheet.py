"""The sheet of words that queries read."""

from __future__ import annotations

import numpy as np
import pytest

from risctl.vision.drawing.heat import colours_of
from risctl.visualization.explain.vlt_sheet import WordsView, words_sheet

IMAGE = np.full((60, 80, 3), 90, dtype=np.uint8)
MASK = np.zeros((60, 80), dtype=bool)
MASK[20:40, 30:50] = True


def view(queries: int = 3, words: int = 4) -> WordsView:
    weights = np.full((queries, words), 0.1 / (words - 1))
    weights[:, 1] = 0.9
    confidences = np.linspace(0.2, 0.7, queries)
    return WordsView(weights=weights, confidences=confidences, attention=np.eye(6, 8))


def count(sheet: np.ndarray, colour: tuple[int, ...]) -> int:
    return int((sheet == np.array(colour, dtype=np.uint8)).all(axis=2).sum())


def test_weights_and_the_highest_confidence_stand_out() -> None:
    sheet = words_sheet(IMAGE, "the red cup here", words=["the", "red", "cup", "here"], view=view(), mask=MASK)
    assert sheet.dtype == np.uint8 and sheet.shape[2] == 3
    # One word of four is read most by every query, and is as yellow as the scale gets; one bar of three is orange.
    yellow = tuple(round(part) for part in colours_of(np.array(1.0)).tolist())
    cells = count(sheet, yellow)
    assert cells > 3 * 1000
    more = words_sheet(IMAGE, "the red cup here", words=["the", "red", "cup", "here"], view=view(6), mask=MASK)
    assert count(more, yellow) == pytest.approx(2 * cells, rel=0.05)
    assert count(sheet, (230, 159, 0)) > 500 > count(sheet, (213, 94, 0))


def test_long_phrases_and_empty_answers_are_drawn() -> None:
    words = [f"supercalifragilistic{n}" for n in range(20)]
    sheet = words_sheet(IMAGE, " ".join(words), words=words, view=view(16, 20), mask=np.zeros_like(MASK))
    assert sheet.shape[1] > 20 * 50
    flat = WordsView(weights=np.zeros((1, 1)), confidences=np.zeros(1), attention=np.zeros((2, 2)))
    assert words_sheet(IMAGE, "x", words=["x"], view=flat, mask=MASK).shape[2] == 3


def test_words_and_weights_must_agree() -> None:
    with pytest.raises(ValueError, match="for 3 words"):
        words_sheet(IMAGE, "a b c", words=["a", "b", "c"], view=view(), mask=MASK)
