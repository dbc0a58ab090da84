"""Noun phrases: the published rule on given parses, and the shipped parser on phrases."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risctl.errors import MachineError, UsageError
from risctl.language.noun_phrases import SHIPPED, Phraser, load_phraser, noun_phrase_of
from risctl.language.parse_repairs import repaired


@pytest.fixture(scope="module")
def phraser() -> Phraser:
    return load_phraser(str(SHIPPED))


@pytest.mark.parametrize(
    ("text", "phrase", "noun"),
    [
        ("the man in the red shirt on the left", "the man", "man"),
        ("Left Guy", "left guy", "guy"),
        ("red shirt guy behind umbrella", "red shirt guy", "guy"),
        ("black cow on right", "black cow", "cow"),
        ("woman wearing a hat", "woman", "woman"),
        ("lower right donut", "lower right donut", "donut"),
        ("on left man", "man", "man"),
        ("second from left glass", "second from left glass", "glass"),
        ("pizza", "pizza", "pizza"),
        ("far right", "far right", None),
        ("standing on the right", "standing on the right", None),
        ("on the right", "on the right", None),
        ("him", "him", None),
        ("orange", "orange", "orange"),
        ("i need a bat", "a bat", "bat"),
        ("standing up black and white shirt", "standing up black and white shirt", "shirt"),
        ("click on the elephant on left", "the elephant", "elephant"),
        ("front of bus on right", "front of bus", "bus"),
        ("second from the left suitcase on cart", "second from the left suitcase", "suitcase"),
        ("biggest donut glazed left", "biggest donut", "donut"),
        ("girrffe", "girrffe", "girrffe"),
    ],
)
def test_the_shipped_parser(phraser: Phraser, text: str, phrase: str, noun: str | None) -> None:
    found = phraser(text)
    assert (found.phrase, found.noun) == (phrase, noun)


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12))
def test_any_text_has_a_phrase(phraser: Phraser, text: str) -> None:
    found = phraser(text)
    assert found.phrase
    assert min(found.outside, default=0) >= 0


TEXT = (
    "man dog orange front back left right second third from to the of in on click standing looking weird red shirt i "
    "girrffe sitting is with one his us bus"
)


@given(st.lists(st.sampled_from(TEXT.split()), min_size=1, max_size=8))
def test_any_repair_leaves_a_tree_and_words_of_the_text(phraser: Phraser, words: list[str]) -> None:
    text = " ".join(words)
    [parsed] = phraser.parses([text])
    mended = repaired(parsed, seen=frozenset())
    roots = [token for token in mended if token.head.i == token.i]
    assert len(roots) >= 1
    assert all(any(root.is_ancestor(token) or root.i == token.i for root in roots) for token in mended)
    found = phraser(text)
    assert f" {found.phrase} " in f" {text} "
    assert found.noun is None or found.noun in found.phrase.split()


def test_an_empty_text_is_told(phraser: Phraser) -> None:
    with pytest.raises(UsageError, match="empty"):
        phraser("  ")


def test_no_chunk_gives_the_whole_text() -> None:
    found = noun_phrase_of(["far", "right"], heads=[1, 1], chunks=[])
    assert (found.phrase, found.noun, found.outside) == ("far right", None, ())


def test_a_model_that_is_not_installed_is_told() -> None:
    with pytest.raises(MachineError, match="not installed"):
        load_phraser("en_core_web_huge")


def test_it_is_small_enough_to_ship() -> None:
    assert sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file()) <= 8_000_000
    assert "CC BY-SA 4.0" in (SHIPPED / "README.md").read_text(encoding="utf-8")
