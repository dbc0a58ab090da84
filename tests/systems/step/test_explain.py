"""What STEP shows of a prediction: for each step the heatmap, the mask's map and the weights of the words."""

from __future__ import annotations

import numpy as np
import pytest

from risctl.data.transforms.preprocess import LongestSidePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.results import Prediction
from risctl.systems.step.explain import explain_steps
from risctl.vision.resize import ResizeLongest

PREPROCESS = LongestSidePreprocess(longest=32, multiple=8, max_words=4, vocabulary=Vocabulary(["red", "cup"]))
GEOMETRY = ResizeLongest.fit(height=40, width=60, longest=32, multiple=8)


def prediction_of(text: str, *, geometry: ResizeLongest | None = GEOMETRY) -> Prediction:
    maps = np.stack([np.full((3, 4), value, dtype=np.float32) for value in (0.25, 0.5, 0.75)])
    weights = np.array([[0.75, 0.25, 0, 0], [0.5, 0.5, 0, 0], [0.25, 0.75, 0, 0]], dtype=np.float32)
    return Prediction(
        text=text,
        probability=np.zeros((40, 60), dtype=np.float32),
        threshold=0.5,
        score=1.0,
        box=None,
        maps={"levels": np.array([5, 4, 5]), "heatmaps": maps, "masks": 1 - maps, "word_attention": weights},
        geometry=geometry,
    )


def test_each_step_has_its_maps_at_the_images_shape_and_the_weights_of_the_words() -> None:
    explanation = explain_steps(prediction_of("red cup"), PREPROCESS)
    assert explanation.kind == "steps" and explanation.words == ("red", "cup")
    assert [step.level for step in explanation.steps] == [5, 4, 5] and explanation.levels_per_fold == 2
    for step, value in zip(explanation.steps, (0.25, 0.5, 0.75), strict=True):
        assert step.heatmap.shape == step.probability.shape == (40, 60)
        assert np.allclose(step.heatmap, value) and np.allclose(step.probability, 1 - value)
    assert explanation.to_dict()["steps"][0] == {"step": 1, "level": 5, "words": {"1 red": 0.75, "2 cup": 0.25}}


def test_words_beyond_the_limit_are_left_out() -> None:
    assert explain_steps(prediction_of("red cup red cup red cup"), PREPROCESS).words == ("red", "cup", "red", "cup")


def test_a_prediction_without_its_geometry_cannot_be_explained() -> None:
    with pytest.raises(ValueError, match="geometry"):
        explain_steps(prediction_of("red cup", geometry=None), PREPROCESS)
