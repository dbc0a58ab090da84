"""No-target samples: what people wrote of one image, asked of one that shows nothing of the kind."""

from __future__ import annotations

import random

import numpy as np
import pytest

from risctl.data.box_grounding.absent import AbsentTexts
from risctl.data.box_grounding.samples import BoxGroundingSample, ImageBoxes
from risctl.errors import DataError

PERSON, DOG, CUP = 0, 16, 41


def boxes(*kinds: int) -> ImageBoxes:
    corners = np.tile(np.array([0.1, 0.1, 0.5, 0.5], dtype=np.float32), (len(kinds), 1))
    return ImageBoxes(corners=corners, category_ids=np.array(kinds), aspect=1.0)


def sample(text: str, *kinds: int) -> BoxGroundingSample:
    return BoxGroundingSample(boxes=boxes(*kinds), text=text, targets=(0,))


def test_named_class_is_not_in_the_image() -> None:
    texts = AbsentTexts(
        [sample("left man", PERSON), sample("the brown dogs", DOG), sample("the one on the left", CUP)],
        [boxes(PERSON), boxes(DOG)],
    )
    drawn = [texts.draw(random.Random(seed)) for seed in range(40)]
    assert all(one.targets == () for one in drawn)
    assert {(one.text, tuple(one.boxes.category_ids.tolist())) for one in drawn} == {
        ("left man", (DOG,)),
        ("the brown dogs", (PERSON,)),
    }


def test_a_noun_of_several_classes_is_absent_only_without_all_of_them() -> None:
    # A glass may be a cup or a wine glass.
    texts = AbsentTexts([sample("the glass", CUP)], [boxes(CUP), boxes(40), boxes(DOG)])
    assert all(texts.draw(random.Random(seed)).boxes.category_ids.tolist() == [DOG] for seed in range(20))


def test_without_such_an_image_it_has_no_boxes() -> None:
    texts = AbsentTexts([sample("left man", PERSON)], [boxes(PERSON)])
    assert len(texts.draw(random.Random(0)).boxes) == 0


def test_nothing_to_draw_from() -> None:
    with pytest.raises(DataError, match="nouns"):
        AbsentTexts([sample("the one on the left", CUP)], [boxes(DOG)])
