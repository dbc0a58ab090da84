"""The contact sheet of STEP's steps, and colours of numbers."""

from __future__ import annotations

import numpy as np
import pytest

from risctl.inference.explanation import ExplainedPrediction
from risctl.results import Prediction
from risctl.systems.step.explain import Steps, StepView
from risctl.visualization.explain.steps import steps_contact_sheet

WORDS = ("the", "red", "cup")


def view(
    level: int = 1, *, shape: tuple[int, int] = (20, 30), peak: float = 0.4, top: int = 1, words: int = 3
) -> StepView:
    found = np.zeros(shape, np.float32)
    found[5:10, 5:15] = peak
    weights = np.full(words, 0.2, np.float32)
    weights[top : top + 1] = 0.6
    return StepView(level=level, heatmap=found, probability=found / max(peak, 1e-9), weights=weights)


def sheet_of(
    steps: list[StepView], *, image: np.ndarray | None = None, text: str = "the red cup", words: tuple[str, ...] = WORDS
) -> np.ndarray:
    picture = np.full((60, 90, 3), 128, np.uint8) if image is None else image
    mask = np.zeros(picture.shape[:2], np.float32)
    mask[10:20, 10:20] = 1
    prediction = Prediction(text=text, probability=mask, threshold=0.5, score=1.0, box=None, image=picture)
    explained = ExplainedPrediction(
        frames=(prediction,), names=("x",), explanation=Steps(words=words, steps=tuple(steps)), is_clip=False
    )
    return steps_contact_sheet(explained)


def test_bands_follow_the_folds() -> None:
    one = sheet_of([view(level) for level in (1, 2, 3, 4, 5)])
    three = sheet_of([view(level) for level in (1, 2, 3, 4, 5) * 3])
    assert one.dtype == np.uint8
    assert one.shape[1] == three.shape[1]
    band = (three.shape[0] - one.shape[0]) // 2
    assert band > 200
    single = sheet_of([view(4) for _ in range(3)])
    assert abs(single.shape[0] - three.shape[0]) < 60  # but for the height of the legend


def test_what_is_drawn_follows_the_numbers() -> None:
    """Another heatmap, map or weight changes the sheet; a heatmap of the same scale alone does not."""
    plain = sheet_of([view(1), view(2)])
    assert np.array_equal(plain, sheet_of([view(1), view(2)]))
    assert not np.array_equal(plain, sheet_of([view(1), view(2, peak=0.1)]))
    assert not np.array_equal(plain, sheet_of([view(1), view(2, top=2)]))
    assert not np.array_equal(plain, sheet_of([view(1), view(3)]))


@pytest.mark.parametrize("shape", [(400, 20), (20, 400), (1, 1), (2000, 1500)])
def test_images_of_any_shape(shape: tuple[int, int]) -> None:
    sheet = sheet_of([view(peak=0.0)], image=np.zeros((*shape, 3), np.uint8) if min(shape) > 25 else None)
    assert sheet.shape[1] >= 760
    if min(shape) <= 25:
        image = np.zeros((*shape, 3), np.uint8)
        sheet = sheet_of([view(words=0)], image=image, text="x " * 80, words=())
        assert sheet.ndim == 3


def test_no_step_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        sheet_of([])
