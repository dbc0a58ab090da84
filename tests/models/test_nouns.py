"""Nouns of phrases, as categories of detectors and as what detectors by text are asked for."""

from __future__ import annotations

import pytest

from risctl.language.coco_classes import CLASSES
from risctl.models.nouns import categories_of, coco_name, nouns_of

LABELS = tuple(CLASSES.values())


@pytest.mark.parametrize(
    ("text", "categories"),
    [
        ("the guy in the red shirt on the left", {"person"}),
        ("women", {"person"}),
        ("second bike from right", {"bicycle", "motorcycle"}),
        ("the glass", {"cup", "wine glass"}),
        ("teddy bear on the bed", {"teddy bear"}),
        ("the thing on the left", set()),
    ],
)
def test_categories_of_a_phrase(text: str, categories: set[str]) -> None:
    assert categories_of(text, LABELS) == categories


def test_categories_are_among_the_labels_and_labels_need_not_be_cocos() -> None:
    assert categories_of("the glass", ("cup", "person")) == {"cup"}
    assert categories_of("the zeppelin above the cup", ("zeppelin", "cup")) == {"zeppelin"}


def test_names_of_detectors_are_cocos() -> None:
    assert [coco_name(one) for one in ("TVmonitor", "diningtable", "Traffic_Light", "zeppelin")] == [
        "tv",
        "dining table",
        "traffic light",
        "zeppelin",
    ]


def test_nouns_begin_with_the_head_and_name_relations() -> None:
    assert nouns_of("the mug behind the laptop") == ("mug", "laptop")
    assert nouns_of("the man in the red shirt on the left")[0] == "man"
    assert "shirt" in nouns_of("the man in the red shirt on the left")
    assert nouns_of("left") == ("left",)
