"""Phrases about looks name a colour that the target alone has."""

from __future__ import annotations

import random

import numpy as np

from risctl.data.datasets.coco_phrases.looks import REGIONS, phrase_about_looks
from risctl.language.clothing import LOWER, UPPER, WHOLE
from risctl.vision.colour_names import NAMES

CORNERS = np.array([[0.0, 0.0, 0.3, 0.9], [0.4, 0.0, 0.7, 0.9], [0.8, 0.5, 1.0, 0.9]], dtype=np.float32)


def shares(*rows: dict[str, str]) -> np.ndarray:
    """Shares of objects whose regions have one colour each."""
    table = np.zeros((len(rows), len(REGIONS), len(NAMES)), dtype=np.float32)
    for row, colours in enumerate(rows):
        for region, colour in colours.items():
            table[row, REGIONS.index(region), NAMES.index(colour)] = 0.8
    return table


def told(categories: tuple[str, ...], table: np.ndarray, *, count: int = 150) -> dict[str, int]:
    made = [phrase_about_looks(CORNERS, categories, table, random.Random(seed)) for seed in range(count)]
    return {one[0]: one[1] for one in made if one is not None}


def test_clothes_tell_persons_apart() -> None:
    red, blue = {UPPER: "red", LOWER: "black"}, {UPPER: "blue", LOWER: "black"}
    texts = told(("person", "person", "bench"), shares(red, blue, {WHOLE: "green"}))
    assert {target for text, target in texts.items() if "red" in text} == {0}
    assert {target for text, target in texts.items() if "blue" in text} == {1}
    assert not any("black" in text for text in texts)  # both have it
    assert any("shirt" in text for text in texts)


def test_things_are_told_by_all_of_them_and_what_is_not_seen_is_not_told() -> None:
    texts = told(("car", "car", "zebra"), shares({WHOLE: "red"}, {}, {WHOLE: "white"}))
    assert texts and set(texts.values()) == {0}
    assert all("red" in text for text in texts)
    assert told(("zebra", "zebra", "zebra"), shares({WHOLE: "white"}, {}, {})) == {}


def test_orange_fur_is_called_brown() -> None:
    texts = told(("dog", "dog", "dog"), shares({WHOLE: "orange"}, {WHOLE: "black"}, {WHOLE: "white"}))
    assert any("brown" in text for text in texts) and not any("orange" in text for text in texts)
