"""What VLT shows of a prediction: the words that each query reads, its confidence, and where queries look."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from risctl.data.transforms.preprocess import LetterboxPreprocess
from risctl.errors import UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.results import Prediction
from risctl.systems.vlt.explain import PADDING, explain_words
from risctl.vision.resize import Letterbox

PREPROCESS = LetterboxPreprocess(
    size=32, fill=0.5, target_size=16, max_words=4, vocabulary=Vocabulary(["the", "red", "cup"])
)
GEOMETRY = Letterbox.fit(height=40, width=60, size=32)
WEIGHTS = np.array([[0.5, 0.25, 0.25, 0.0], [0.25, 0.25, 0.0, 0.5]], dtype=np.float32)


def prediction_of(text: str, weights: np.ndarray = WEIGHTS, *, geometry: Letterbox | None = GEOMETRY) -> Prediction:
    attention = np.zeros((4, 4), dtype=np.float32)
    attention[:, 3] = 1
    return Prediction(
        text=text,
        probability=np.zeros((40, 60), dtype=np.float32),
        threshold=0.5,
        score=1.0,
        box=None,
        maps={"word_weights": weights, "confidences": np.array([0.25, 0.5]), "attention": attention},
        geometry=geometry,
    )


def test_weights_stand_by_their_words_and_those_of_padding_together() -> None:
    explanation = explain_words(prediction_of("red cup"), PREPROCESS)
    assert explanation.words == ("red", "cup", PADDING)
    assert explanation.weights.tolist() == [[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]
    assert explanation.to_dict() == {
        "queries": [
            {"query": 0, "confidence": 0.25, "words": {"1 red": 0.5, "2 cup": 0.25, PADDING: 0.25}},
            {"query": 1, "confidence": 0.5, "words": {"1 red": 0.25, "2 cup": 0.25, PADDING: 0.5}},
        ]
    }


def test_padding_without_attention_and_words_beyond_the_limit_are_left_out() -> None:
    masked = WEIGHTS.copy()
    masked[:, 2:] = 0
    assert explain_words(prediction_of("red cup", masked), PREPROCESS).words == ("red", "cup")
    long = explain_words(prediction_of("the red cup the red cup"), PREPROCESS)
    assert long.words == ("the", "red", "cup", "the")


def test_attention_has_the_images_shape_without_the_border() -> None:
    explanation = explain_words(prediction_of("red cup"), PREPROCESS)
    assert explanation.attention.shape == (40, 60)
    assert explanation.attention[:, -1].min() > 0.5 > explanation.attention[:, 0].max()


def test_a_prediction_without_its_geometry_cannot_be_explained() -> None:
    with pytest.raises(ValueError, match="geometry"):
        explain_words(prediction_of("red cup", geometry=None), PREPROCESS)


def test_a_model_without_queries_says_that_it_has_none() -> None:
    prediction = replace(prediction_of("red cup"), maps={})
    with pytest.raises(UsageError, match="expected a VLT with queries to show"):
        explain_words(prediction, PREPROCESS)
