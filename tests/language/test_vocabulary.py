"""The vocabulary: ids, padding, unknown words, round trip."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from risctl.errors import CheckpointError, UsageError
from risctl.language.vocabulary import Vocabulary

TEXTS = ["man on the left", "the left cup", "man's hat on the left"]


def test_most_frequent_words_come_first_and_ties_are_alphabetical() -> None:
    assert Vocabulary.from_texts(TEXTS).words == (
        "<pad>", "<unk>", "left", "the", "on", "cup", "hat", "man", "man's",
    )  # fmt: skip


def test_min_count_and_extra_words() -> None:
    vocabulary = Vocabulary.from_texts(TEXTS, min_count=2, extra=["zebra", "left"])
    assert "cup" not in vocabulary
    assert vocabulary.words[-1] == "zebra"
    assert vocabulary.words.count("left") == 1


def test_encode_pads_and_masks() -> None:
    vocabulary = Vocabulary(["left", "man"])
    ids, mask = vocabulary.encode("The LEFT man", max_words=5)
    assert ids.dtype == torch.int64
    assert ids.tolist() == [1, 2, 3, 0, 0]
    assert mask.tolist() == [True, True, True, False, False]


def test_encode_cuts_long_texts() -> None:
    ids, mask = Vocabulary(["man"]).encode(" ".join(["man"] * 200), max_words=15)
    assert ids.tolist() == [2] * 15
    assert mask.all()


@pytest.mark.parametrize("text", ["", "   ", "\t\n"])
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="at least one word"):
        Vocabulary(["man"]).encode(text, max_words=4)


def test_punctuation_around_a_known_word_is_no_obstacle_but_a_known_spelling_wins() -> None:
    vocabulary = Vocabulary(["man", "man,"])
    assert vocabulary.encode('"man" man, man. ...', max_words=4)[0].tolist() == [2, 3, 2, 1]


def test_special_words_cannot_be_typed() -> None:
    vocabulary = Vocabulary(["man"])
    assert vocabulary.encode("<pad> <unk>", max_words=2)[0].tolist() == [1, 1]


def test_unknown_words_are_named_once() -> None:
    assert Vocabulary(["man"]).unknown("blue man, blue hat") == ["blue", "hat"]


@given(st.lists(st.text(min_size=1), max_size=20))
def test_round_trip(words: list[str]) -> None:
    vocabulary = Vocabulary(words)
    assert Vocabulary.from_list(vocabulary.to_list()) == vocabulary


@pytest.mark.parametrize(
    "words", [[], ["<pad>"], ["<unk>", "<pad>"], ["<pad>", "<unk>", "a", "a"], ["<pad>", "<unk>", 3]]
)
def test_what_is_no_vocabulary_is_refused(words: list) -> None:
    with pytest.raises(CheckpointError):
        Vocabulary.from_list(words)
