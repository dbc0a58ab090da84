"""Byte pairs without a library: the ids that the `tokenizers` library gives."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from risctl.language.byte_level import ByteLevelTokens, pieces
from risctl.language.byte_pairs import BytePairs

MERGES = ["r e", "re d", "\u0120 t", "\u0120t h", "\u0120th e", "e r", "e e", "ee e", "' s", "a a", "aa a", "1 2"]
TOKENS = ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), *(one.replace(" ", "") for one in MERGES)]


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=30) | st.text("aer the12's.!\u00e9\u2014", max_size=30))
@example("the reeeed dog's aaaaa 12x12's ' 's can't WE'LL we'll")
@example("\u2460 \u0e33\u0301 \U0001f600 \u3007 a\u00a0b")
def test_ids_are_those_of_the_library(text: str) -> None:
    if text.strip():
        expected, _ = BytePairs(TOKENS, MERGES).encode(text, max_words=1000)
        assert ByteLevelTokens(TOKENS, MERGES).ids(text) == expected.tolist()


def test_a_text_is_cut_where_letters_digits_and_signs_meet() -> None:
    assert list(pieces("the dog's 2nd cup!")) == ["the", " dog", "'s", " 2", "nd", " cup", "!"]


def test_tokens_without_start_are_refused() -> None:
    with pytest.raises(KeyError):
        ByteLevelTokens(["a", "b"], [])
