"""What LAVT shows of a prediction: the words that each stage reads and how far its gate opens."""

from __future__ import annotations

import numpy as np
import pytest

from risctl.data.transforms.preprocess import SquarePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.language.wordpiece import wordpiece
from risctl.results import Prediction
from risctl.systems.lavt.explain import explain_stages
from risctl.vision.resize import Square

PREPROCESS = SquarePreprocess(size=32, max_words=4, vocabulary=Vocabulary(["the", "red", "cup"]))
GEOMETRY = Square.fit(height=40, width=60, size=32)


def prediction_of(text: str, *, geometry: Square | None = GEOMETRY, found: bool = True) -> Prediction:
    left = np.zeros((8, 8, 4), dtype=np.float32)
    left[:, :4, 0] = left[:, 4:, 1] = 1
    even = np.full((4, 4, 4), 0.5, dtype=np.float32)
    even[..., 2:] = 0
    probability = np.zeros((40, 60), dtype=np.float32)
    probability[:, :20] = found
    return Prediction(
        text=text,
        probability=probability,
        threshold=0.5,
        score=1.0,
        box=None,
        maps={"words_1": left, "words_2": even, "gate_1": np.full((8, 8), 0.25, dtype=np.float32)},
        geometry=geometry,
    )


def test_attention_has_the_images_shape_and_shares_stand_by_their_words() -> None:
    view = explain_stages(prediction_of("red cup"), PREPROCESS)
    assert view.words == ("red", "cup")
    assert [stage.attention.shape for stage in view.stages] == [(2, 40, 60), (2, 40, 60)]
    assert view.stages[1].gate is None
    assert view.overall.tolist() == [[pytest.approx(0.5), pytest.approx(0.5)]] * 2
    assert view.in_mask[0].tolist() == pytest.approx([1.0, 0.0]) and view.in_mask[1].tolist() == [0.5, 0.5]
    first, second = view.to_dict()["stages"]
    assert first == {
        "stage": 1,
        "gate": 0.25,
        "words": {"1 red": 0.5, "2 cup": 0.5},
        "words_in_mask": {"1 red": 1.0, "2 cup": 0.0},
    }
    assert second["gate"] is None


def test_an_empty_mask_shows_the_whole_image() -> None:
    view = explain_stages(prediction_of("red cup", found=False), PREPROCESS)
    assert np.array_equal(view.in_mask, view.overall)


def test_pieces_of_words_are_shown_as_the_model_reads_them() -> None:
    tokens = wordpiece(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "cup", "##s"], source="test")
    view = explain_stages(prediction_of("cups"), SquarePreprocess(size=32, max_words=4, vocabulary=tokens))
    assert view.words == ("[CLS]", "cup", "##s", "[SEP]")


def test_a_prediction_without_its_geometry_cannot_be_explained() -> None:
    with pytest.raises(ValueError, match="geometry"):
        explain_stages(prediction_of("red cup", geometry=None), PREPROCESS)
