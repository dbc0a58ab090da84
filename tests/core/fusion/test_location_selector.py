"""Words of location select among detections."""

from __future__ import annotations

import torch

from risctl.core.encoders.text.query_word import SIDE_NAMES
from risctl.core.fusion.location_selector import select_by_location
from risctl.language.location_phrases import place_of


def test_places_choose_among_what_is_nearly_as_good_as_the_best() -> None:
    boxes = torch.tensor([[40.0, 10, 60, 30], [0, 10, 20, 30], [80, 10, 99, 29], [0, 60, 5, 65]])
    scores = torch.tensor([0.5, 0.45, 0.4, 0.1])

    def chosen(phrase: str) -> int:
        place = place_of(phrase.split())
        named = torch.tensor([float(name in place.sides) for name in SIDE_NAMES] + [float(place.rank)])
        return select_by_location(boxes, scores, named, height=100, width=100)

    assert (chosen("the zebra"), chosen("left zebra"), chosen("rightmost zebra")) == (0, 1, 2)
    assert (chosen("second zebra"), chosen("third zebra"), chosen("first zebra")) == (0, 2, 0)
    assert (chosen("second from left"), chosen("zebra in the middle"), chosen("smallest zebra")) == (0, 0, 2)
