"""Phrases made about boxes alone, in memory: more questions for a chooser than people ever asked."""

from __future__ import annotations

import random

from risctl.data.box_grounding.samples import UNKNOWN, BoxGroundingSample, ImageBoxes
from risctl.data.datasets.coco_phrases.describe import Describer
from risctl.data.datasets.coco_phrases.instances import Thing
from risctl.data.datasets.coco_phrases.lexicon import NOUNS, nouns, plural

CATEGORIES = tuple(NOUNS)
"""The categories in COCO's order, which is that of the kinds of boxes."""
_FILLED = 0.75  # the share of its box that a thing covers, roughly
_NOTABLE = 0.035  # the share of the picture from which RefCOCO's players were asked about a thing


def questions_about(
    picture: ImageBoxes,
    rng: random.Random,
    *,
    count: int,
    several: float = 0.08,
    absent: float = 0.07,
    notable: float = 0.6,
) -> list[BoxGroundingSample]:
    """Returns at most `count` questions about `picture`, fewer where nothing tells things apart.

    several, absent: shares of phrases that mean more than one thing, and none; notable: the share that means a big
    thing among its like, as RefCOCO's all do.
    """
    if (picture.category_ids == UNKNOWN).any():
        raise ValueError("phrases can only be made about boxes of known kinds")
    things = [
        Thing(
            corners=(float(x1), float(y1), float(x2), float(y2)),
            category=CATEGORIES[kind],
            area=float((x2 - x1) * (y2 - y1)) * _FILLED,
        )
        for (x1, y1, x2, y2), kind in zip(picture.corners, picture.category_ids, strict=True)
    ]
    describer = Describer(things, rng)
    targets = describer.targets()
    alike: dict[str, int] = {}
    for thing in things:
        alike[thing.category] = alike.get(thing.category, 0) + 1
    big = [i for i in targets if things[i].area > _NOTABLE and alike[things[i].category] > 1]
    made = []
    for _ in range(count):
        drawn = rng.random()
        if drawn < several:
            phrase = describer.several()
        elif drawn < several + absent:
            phrase = describer.absent()
        elif targets:
            phrase = describer.single(rng.choice(big if big and rng.random() < notable else targets))
        else:
            phrase = None
        if phrase is not None:
            made.append(BoxGroundingSample(boxes=picture, text=phrase.text, targets=phrase.targets))
    return made


def lexicon_words() -> set[str]:
    """Returns the words of the nouns that phrases call things by, one or several of them."""
    named = (form for category in NOUNS for noun, _ in nouns(category) for form in (noun, plural(noun)))
    return {word for form in named for word in form.split()}
