"""What ReferFormer shows of a prediction: the masks, boxes and scores of all its queries over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from risctl.results import Prediction
from risctl.systems.referformer.explain import explain_queries
from risctl.vision.resize import ResizeShortest

GEOMETRY = ResizeShortest.fit(height=20, width=30, short=16)


def frame_of(scores: Sequence[float], *, geometry: ResizeShortest | None = GEOMETRY) -> Prediction:
    """Returns a frame in which query 1 is everywhere and the others nowhere."""
    masks = np.zeros((1, len(scores), 4, 6), dtype=np.float32)
    masks[:, 1] = 1
    return Prediction(
        text="the cup",
        probability=np.zeros((20, 30), dtype=np.float32),
        threshold=0.5,
        score=1.0,
        box=None,
        maps={
            "query_scores": np.array([scores], dtype=np.float32),
            "query_boxes": np.full((1, len(scores), 4), 0.5, dtype=np.float32),
            "query_masks": masks,
        },
        geometry=geometry,
    )


def test_queries_have_masks_at_the_images_size_in_every_frame() -> None:
    explanation = explain_queries([frame_of([0.75, 0.25, 0.5]), frame_of([0.0, 0.75, 0.25])])
    assert explanation.scores.tolist() == [[0.75, 0.25, 0.5], [0.0, 0.75, 0.25]]
    assert explanation.boxes.shape == (2, 3, 4) and explanation.masks.shape == (2, 3, 20, 30)
    assert explanation.masks[:, 1].all() and not explanation.masks[:, [0, 2]].any()


def test_the_chosen_query_has_the_highest_mean_score() -> None:
    explanation = explain_queries([frame_of([0.75, 0.25, 0.5]), frame_of([0.0, 0.75, 0.25])])
    assert explanation.to_dict() == {"scores": [[0.75, 0.25, 0.5], [0.0, 0.75, 0.25]], "chosen": 1}


def test_a_prediction_without_its_geometry_cannot_be_explained() -> None:
    with pytest.raises(ValueError, match="geometry"):
        explain_queries([frame_of([0.5, 0.5], geometry=None)])
