"""Left and right exchanged, all else untouched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risctl.language.flips import SWAPS, swap_left_right, swap_letters

WORDS = ["left", "right", "leftmost", "rightmost", "lefthand", "righthand", "topleft", "lh", "l", "r", "lefty"]
OTHERS = ["bright", "upright", "cleft", "man's", "l'eau", "R&B", "r2", "3", "é", "ﬁ", "leftmoſt", "", "\u0130", "_l_"]
cased = st.sampled_from(WORDS).flatmap(lambda word: st.sampled_from([word, word.capitalize(), word.upper()]))
texts = st.lists(st.tuples(cased | st.sampled_from(OTHERS), st.sampled_from([" ", ", ", "-", "/", "  ", ".\n"]))).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("man on the left", "man on the right"),
        ("Leftmost cup, RIGHT side", "Rightmost cup, LEFT side"),
        ("left-hand glove of the right-handed man", "right-hand glove of the left-handed man"),
        ("l cow / R cow", "r cow / L cow"),
        ("second from left, on the left's edge", "second from right, on the right's edge"),
        ("topleft 2nd from right3", "topright 2nd from left3"),
        ("upright bright cleft", "upright bright cleft"),
        ("l'eau and R&B on r2d2", "l'eau and R&B on r2d2"),
        ("LeftMost", "rightmost"),
        ("", ""),
    ],
)
def test_swaps_words_of_side_only(text: str, expected: str) -> None:
    assert swap_left_right(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the bright cup on the left", "the bleft cup on the right"),
        ("cleft upright", "cright upleft"),
        ("Left cow, l side", "Left cow, l side"),
        ("leftright", "rightleft"),
    ],
)
def test_letters_are_exchanged_wherever_they_stand_as_published(text: str, expected: str) -> None:
    assert text.replace("left", "@").replace("right", "left").replace("@", "right") == expected
    assert swap_letters(text) == expected and SWAPS["letters"] is swap_letters


@given(texts)
def test_twice_gives_the_text_back(text: str) -> None:
    assert swap_left_right(swap_left_right(text)) == text


@given(st.text())
def test_any_text_keeps_its_number_of_words(text: str) -> None:
    assert len(swap_left_right(text).split()) == len(text.split())


@given(texts)
def test_every_word_of_side_changes(text: str) -> None:
    swapped = swap_left_right(text)
    before = [word for word in text.lower().split() if word.strip(".,") in ("left", "right", "leftmost", "rightmost")]
    after = [word for word in swapped.lower().split() if word.strip(".,") in ("left", "right", "leftmost", "rightmost")]
    assert len(before) == len(after)
    assert all(one != other for one, other in zip(before, after))
