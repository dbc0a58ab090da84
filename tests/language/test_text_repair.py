"""Texts are repaired and cleaned as CLIP's tokenizer does it."""

from __future__ import annotations

import pytest

from risctl.language.text_repair import clean_text, repaired


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  The LEFT-most\twoman\n", "the left-most woman"),
        ("its head up &amp;amp; 25%", "its head up & 25%"),
        ("“the big one” — behind", '"the big one" — behind'),
        ("it’s", "it's"),
        ("ﬁne ＡＢＣ\u3000x", "fine abc x"),
        ("cafÃ©", "café"),
        ("cafe\u0301", "café"),
        ("a\x1b[31mred\x1b[0m cup\x07", "ared cup"),
        ("\ufeffcup", "cup"),
        ("it\x92s", "it's"),
        ("", ""),
    ],
)
def test_a_text_is_cleaned(text: str, expected: str) -> None:
    assert clean_text(text) == expected


def test_entities_of_markup_are_left_to_the_later_step() -> None:
    assert repaired("<b>&lt;") == "<b>&lt;"
    assert clean_text("<b>&lt;") == "<b><"


def test_good_text_is_not_decoded_again() -> None:
    for text in ("café", "señor", "naïve", "日本語", "ß"):
        assert repaired(text) == text
