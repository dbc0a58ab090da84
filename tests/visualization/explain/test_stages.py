"""The contact sheet of the stages of a LAVT."""

from __future__ import annotations

import numpy as np

from risctl.inference.explanation import ExplainedPrediction
from risctl.results import Prediction
from risctl.systems.lavt.explain import StageView, StageWords
from risctl.vision.drawing.heatmap import viridis
from risctl.visualization.explain.stages import stages_contact_sheet

IMAGE = np.full((60, 80, 3), 90, dtype=np.uint8)


def drawn(words: tuple[str, ...], *, gates: tuple[float | None, ...], highest: int = 0) -> np.ndarray:
    """Draws stages of which each reads one word, `highest`, everywhere."""
    attention = np.zeros((len(words), 60, 80), dtype=np.float32)
    attention[highest] = 1
    stages = tuple(
        StageView(attention=attention, gate=None if gate is None else np.full((60, 80), gate, dtype=np.float32))
        for gate in gates
    )
    shares = np.tile(attention.mean(axis=(1, 2)), (len(gates), 1))
    view = StageWords(words=words, stages=stages, in_mask=shares, overall=shares)
    probability = np.zeros((60, 80), dtype=np.float32)
    prediction = Prediction(
        text=" ".join(words), probability=probability, threshold=0.5, score=1.0, box=None, image=IMAGE
    )
    return stages_contact_sheet(
        ExplainedPrediction(frames=(prediction,), names=("x",), explanation=view, is_clip=False)
    )


def yellow(sheet: np.ndarray) -> int:
    """Counts the pixels of the highest values, as they look on a grey of 90."""
    colour = np.rint(0.28 * 90 + 0.72 * viridis(np.array(1.0))).astype(np.uint8)
    return int((sheet == colour).all(axis=2).sum())


def test_each_word_is_a_row_and_each_stage_a_column() -> None:
    short, long = drawn(("a", "b"), gates=(0.5, None)), drawn(("a", "b", "c", "d"), gates=(0.5, None))
    wide = drawn(("a", "b"), gates=(0.5, 0.5, 0.5, None))
    assert long.shape[0] - short.shape[0] == 2 * (120 + 18 + 8) and wide.shape[1] - short.shape[1] == 2 * (170 + 8)
    # Two stages read one word, and one gate is open as widely as any: three maps are yellow all over.
    assert yellow(short) == yellow(long) == 3 * 120 * 160
    assert yellow(wide) == 7 * 120 * 160


def test_gates_share_one_scale_and_closed_ones_are_drawn() -> None:
    assert yellow(drawn(("a",), gates=(0.5, 0.25, None))) == 4 * 120 * 160
    assert yellow(drawn(("a",), gates=(0.0, None))) == 2 * 120 * 160
