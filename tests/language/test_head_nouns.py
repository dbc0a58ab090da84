"""What a phrase is about, by its parse and by the rules that stand in for it."""

from __future__ import annotations

import sys

import pytest

from risctl.language.coco_classes import CLASSES
from risctl.language.head_nouns import head_name, plural
from risctl.language.location_phrases import place_of
from risctl.language.noun_phrases import load_phraser

NAMES = tuple(CLASSES.values())
KNOWN = frozenset({"guy", "man", "shirt", "tree", "water", "stripes", "butt", "orange", "blue", "red"})


def head(text: str, *, parsed: bool = True) -> str | None:
    return head_name(text.split(), names=NAMES, is_known=KNOWN.__contains__, parsed=parsed)


@pytest.mark.parametrize("parsed", [True, False])
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("the zebra on the left", "zebra"),
        ("second from left blue dog", "dog"),
        ("left guy with a cup", "guy"),
        ("the cup next to the man", "cup"),
        ("orange", "orange"),
        ("the left one", None),
        ("the second traffic light from the left", "traffic light"),
        ("hot dog in front", "hot dog"),
        ("dog in front of the fire hydrant", "dog"),
        ("two wine glasses", "wine glass"),
        ("knives on the right", "knife"),
        ("people at the back", "person"),
        ("blue tennis racket", "tennis racket"),
        ("zebra butt", "zebra"),
        ("man in the orange shirt", "man"),
        ("xyzzy plugh", None),
        ("thing behind the cup", "cup"),
    ],
)
def test_what_a_phrase_is_about(text: str, name: str | None, parsed: bool) -> None:
    assert head(text, parsed=parsed) == name


def test_the_parse_sees_what_the_rules_do_not() -> None:
    """A relation that the rules have no word for."""
    text = "zebra drinking water"
    assert head(text) == "zebra"
    assert head("guy drinking water") == "guy"
    assert head("guy drinking water", parsed=False) == "water"


def test_without_spacy_the_rules_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    load_phraser.cache_clear()
    monkeypatch.setitem(sys.modules, "spacy", None)
    assert head("guy drinking water") == "water"
    assert head("the zebra on the left") == "zebra"


@pytest.mark.parametrize(
    ("name", "several"),
    [("bus", "buses"), ("couch", "couches"), ("wine glass", "wine glasses"), ("knife", "knives"), ("cup", "cups")],
)
def test_plurals(name: str, several: str) -> None:
    assert plural(name) == several


@pytest.mark.parametrize(
    ("text", "sides", "rank"),
    [
        ("far left zebra", ("left",), 1),
        ("the far zebra", ("top",), 1),
        ("second zebra from the right", ("right",), 2),
        ("bottom left cup", ("left", "bottom"), 1),
        ("the zebra", (), 1),
    ],
)
def test_places(text: str, sides: tuple[str, ...], rank: int) -> None:
    place = place_of(text.split())
    assert (place.sides, place.rank) == (sides, rank)
