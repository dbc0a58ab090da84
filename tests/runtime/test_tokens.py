"""The runtime without torch reads texts as the systems do."""

from __future__ import annotations

import numpy as np
import pytest

from risctl.errors import CheckpointError, UsageError
from risctl.language.byte_pairs import BytePairs
from risctl.language.vocabulary import Vocabulary
from risctl.runtime.tokens import BytePairTokens, HashedWordTokens, WordTokens, text_kind
from risctl.systems.mini.preprocess import MiniPreprocess

WORDS = ["<pad>", "<unk>", "the", "man", "left"]
SETTINGS = {"kind": "hashed_words", "buckets": 64, "max_words": 5}


@pytest.mark.parametrize("text", ["the man", "The LEFT man's hat", "zebra", "the the the the the the man"])
def test_a_text_has_the_tokens_of_torch(text: str) -> None:
    expected = MiniPreprocess(size=64, words=WORDS[2:], buckets=64, max_words=5).text(text)
    ids, mask = HashedWordTokens(WORDS, SETTINGS)(text)
    assert np.array_equal(ids, expected[0].numpy()) and np.array_equal(mask, expected[1].numpy())


def test_what_cannot_be_read_is_said() -> None:
    tokens = HashedWordTokens(WORDS, SETTINGS)
    with pytest.raises(UsageError, match="at least one word"):
        tokens(" ... ")
    assert tokens.warnings("the zebra, man") == ["not among the words of its training: 'zebra,'"]
    assert tokens.warnings("the man left the man left") == ["only the first 5 of 6 words are read"]


@pytest.mark.parametrize("text", ["the man", "The LEFT man, left", "a zebra", "the the the the the the man"])
@pytest.mark.parametrize("lowercase", [False, True])
def test_words_have_the_ids_of_their_vocabulary(text: str, lowercase: bool) -> None:
    vocabulary = Vocabulary(WORDS[2:])
    tokens = WordTokens(vocabulary.to_list(), {"max_words": 5, "lowercase": lowercase})
    expected = vocabulary.encode(text.lower() if lowercase else text, max_words=5)
    ids, mask = tokens(text)
    assert np.array_equal(ids, expected[0].numpy()) and np.array_equal(mask, expected[1].numpy())


def test_words_that_are_not_read_are_named() -> None:
    tokens = WordTokens(WORDS, {"max_words": 3})
    assert tokens.warnings("the zebra, left man") == [
        "not among the words of its training: 'zebra,'",
        "only the first 3 of 4 words are read",
    ]
    with pytest.raises(UsageError, match="at least one word"):
        tokens("  ")


@pytest.mark.parametrize("text", ["The red cup", "red " * 20, "the dog's 2 cups!", "café \u4e2d"])
def test_byte_pairs_have_the_ids_of_their_vocabulary(text: str) -> None:
    pairs = BytePairs(*byte_pairs())
    tokens = BytePairTokens(pairs.to_list(), {"max_words": 12, "lowercase": True})
    expected = pairs.encode(text.lower(), max_words=12)
    ids, mask = tokens(text)
    assert np.array_equal(ids, expected[0].numpy()) and np.array_equal(mask, expected[1].numpy())


def test_damaged_byte_pairs_are_refused() -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        BytePairTokens(["<byte-pairs>", "a", "b"], {"max_words": 12})
    with pytest.raises(CheckpointError, match="damaged"):
        BytePairTokens(["<byte-pairs>", "a", "<byte-pairs>"], {"max_words": 12})


def test_a_vocabulary_says_which_tokens_it_has() -> None:
    assert text_kind({"kind": "vocabulary", "vocabulary": "BytePairs"}) == "BytePairs"
    assert text_kind({"kind": "hashed_words", "vocabulary": "Vocabulary"}) == "hashed_words"


def byte_pairs() -> tuple[list[str], list[str]]:
    """Return tokens and merges of a small tokenizer."""
    from tokenizers.pre_tokenizers import ByteLevel

    merges = ["r e", "re d", "\u0120 t", "\u0120t h", "\u0120th e", "c u", "cu p", "p s"]
    joined = [merge.replace(" ", "") for merge in merges]
    return ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), *joined], merges
