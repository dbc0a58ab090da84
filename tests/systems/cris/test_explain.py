"""What CRIS shows of a prediction: pixels compared with the sentence and with each token."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_clip import write_tokenizer

from risctl.data.transforms.affine_preprocess import AffineLetterboxPreprocess
from risctl.language.clip_vocabulary import ClipVocabulary
from risctl.language.vocabulary import Vocabulary
from risctl.results import Prediction
from risctl.systems.cris.explain import explain_similarity, tokens_of
from risctl.vision.affine_letterbox import AffineLetterbox


def preprocess_of(vocabulary: Vocabulary) -> AffineLetterboxPreprocess:
    return AffineLetterboxPreprocess(size=64, target_size=16, max_words=6, vocabulary=vocabulary)


def prediction_of(probability: np.ndarray, attention: np.ndarray) -> Prediction:
    height, width = probability.shape
    return Prediction(
        text="the red cup",
        probability=probability,
        threshold=0.35,
        score=0.5,
        box=None,
        maps={"word_attention": attention},
        geometry=AffineLetterbox(height=height, width=width, size=64),
    )


def test_each_token_has_a_map_and_its_share_in_the_mask_and_beside_it() -> None:
    probability = np.zeros((40, 40), np.float32)
    probability[:, 20:] = 0.9
    attention = np.zeros((6, 4, 4), np.float32)
    attention[0], attention[1, :, 2:], attention[2] = 0.25, 0.5, 0.1
    view = explain_similarity(prediction_of(probability, attention), preprocess_of(Vocabulary(["the", "red", "cup"])))
    assert view.words == ("the", "red", "cup") and view.attention.shape == (3, 40, 40)
    assert np.array_equal(view.sentence, probability)
    assert view.inside[0] == pytest.approx(0.25, abs=0.02) and view.outside[0] == pytest.approx(0.25, abs=0.02)
    assert view.inside[1] > 0.4 > 0.15 > view.outside[1]
    assert [one["word"] for one in view.to_dict()["words"]] == ["the", "red", "cup"]


def test_without_a_mask_there_is_no_share_in_it() -> None:
    view = explain_similarity(
        prediction_of(np.zeros((30, 20), np.float32), np.full((6, 4, 4), 0.2, np.float32)),
        preprocess_of(Vocabulary(["the", "red", "cup"])),
    )
    assert {one["inside"] for one in view.to_dict()["words"]} == {None}
    assert all(one["outside"] == pytest.approx(0.2, abs=0.05) for one in view.to_dict()["words"])


def test_subword_tokens_are_shown_as_they_are_read(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    preprocess = preprocess_of(ClipVocabulary.load(str(tmp_path)))
    tokens = tokens_of("The red", preprocess)
    assert tokens == ("<|startoftext|>", "the", "red", "<|endoftext|>")
    assert len(tokens_of("the red cup on the box on the left", preprocess)) == 6
