"""Makes phrases about boxes alone: training data for box grounding beyond what people wrote."""

from __future__ import annotations

import random
from collections.abc import Sequence

from risctl.data.box_grounding.samples import UNKNOWN, BoxGroundingSample, ImageBoxes
from risctl.data.datasets.coco_phrases.describe import Describer
from risctl.data.datasets.coco_phrases.instances import Instance
from risctl.data.datasets.coco_phrases.lexicon import NOUNS, nouns, plural

CATEGORIES = tuple(NOUNS)
"""The categories in COCO's order, which is that of the class indices of boxes."""
_GROUP_SHARE = 0.08  # the share of phrases that refer to several boxes
_ABSENT_SHARE = 0.07  # the share of no-target phrases
_LARGE_SHARE = 0.6  # the share that refers to a large box among others of its class, as all of RefCOCO's do
_FILLED = 0.75  # roughly the share of its box that an object covers
_NOTABLE = 0.035  # the share of the image from which RefCOCO's players referred to an object


def phrases_about(
    boxes: ImageBoxes, rng: random.Random, *, count: int, colours: Sequence[str | None] | None = None
) -> list[BoxGroundingSample]:
    """Returns phrases about the boxes of an image, at most `count`: fewer where nothing tells the boxes apart.

    Args:
        boxes: Boxes of known classes.
        rng: Decides which phrases are made.
        count: How many at most.
        colours: The colour of each box, None where it has no certain one; None: no colours are named.

    Raises:
        ValueError: The class of a box is not known.
    """
    if (boxes.category_ids == UNKNOWN).any():
        raise ValueError("phrases can only be made about boxes of known classes")
    instances = [
        Instance(
            corners=(float(x1), float(y1), float(x2), float(y2)),
            category=CATEGORIES[category],
            area=float((x2 - x1) * (y2 - y1)) * _FILLED,
            colour=None if colours is None else colours[index],
        )
        for index, ((x1, y1, x2, y2), category) in enumerate(zip(boxes.corners, boxes.category_ids, strict=True))
    ]
    describer = Describer(instances, rng)
    targets = describer.targets()
    alike: dict[str, int] = {}
    for instance in instances:
        alike[instance.category] = alike.get(instance.category, 0) + 1
    large = [i for i in targets if instances[i].area > _NOTABLE and alike[instances[i].category] > 1]
    made = []
    for _ in range(count):
        drawn = rng.random()
        if drawn < _GROUP_SHARE:
            phrase = describer.group()
        elif drawn < _GROUP_SHARE + _ABSENT_SHARE:
            phrase = describer.absent()
        elif targets:
            phrase = describer.single(rng.choice(large if large and rng.random() < _LARGE_SHARE else targets))
        else:
            phrase = None
        if phrase is not None:
            made.append(BoxGroundingSample(boxes=boxes, text=phrase.text, targets=phrase.targets))
    return made


def lexicon_words() -> set[str]:
    """Returns the words of all nouns of the lexicon, in singular and plural."""
    named = (form for category in NOUNS for noun, _ in nouns(category) for form in (noun, plural(noun)))
    return {word for form in named for word in form.split()}
