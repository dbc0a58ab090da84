"""What mini shows of a prediction: the boxes that were most probably referred to."""

from __future__ import annotations

import numpy as np

from risctl.results import Prediction
from risctl.systems.mini.explain import explain_boxes


def prediction_of(probabilities: list[float]) -> Prediction:
    corners = np.linspace(0, 0.5, len(probabilities) * 4, dtype=np.float32).reshape(-1, 4)
    return Prediction(
        text="the cup",
        probability=np.zeros((20, 40), dtype=np.float32),
        threshold=0.5,
        score=1.0,
        box=None,
        maps={"boxes": corners, "choice": np.array(probabilities, dtype=np.float32)},
    )


def test_boxes_come_by_falling_probability_and_those_without_are_left_out() -> None:
    prediction = prediction_of([0.25, 0.0, 0.75, 0.5])
    explanation = explain_boxes(prediction)
    assert explanation.kind == "choices" and explanation.size == (20, 40)
    assert explanation.probabilities.tolist() == [0.75, 0.5, 0.25]
    assert np.array_equal(explanation.boxes, prediction.maps["boxes"][[2, 3, 0]])


def test_no_more_boxes_are_shown_than_there_are_colours() -> None:
    assert len(explain_boxes(prediction_of([0.5] * 12)).boxes) == 7
    assert explain_boxes(prediction_of([])).to_dict() == {"things": []}


def test_json_has_boxes_in_pixels() -> None:
    prediction = prediction_of([0.5])
    prediction.maps["boxes"][0] = (0.25, 0.5, 0.75, 1.0)
    assert explain_boxes(prediction).to_dict() == {"things": [{"probability": 0.5, "box": [10.0, 10.0, 30.0, 20.0]}]}
