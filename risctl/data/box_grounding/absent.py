"""Makes no-target samples: an expression about one image, paired with another that shows no such object."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache

from risctl.data.box_grounding.samples import BoxGroundingSample, ImageBoxes
from risctl.data.datasets.coco_phrases.lexicon import NOUNS, nouns, plural
from risctl.errors import DataError

_TRIES = 20


class AbsentTexts:
    """Draws no-target samples: an expression and an image without any class that one of its nouns may name."""

    def __init__(self, samples: Sequence[BoxGroundingSample], images: Sequence[ImageBoxes]) -> None:
        """Creates it.

        Args:
            samples: Expressions; those without a noun of the lexicon are not used.
            images: Boxes of known classes.

        Raises:
            DataError: There is no such expression, or no image.
        """
        named = [(sample.text, classes_named(sample.text)) for sample in samples]
        self.texts = [(text, classes) for text, classes in named if classes]
        self.images = [(boxes, frozenset(boxes.category_ids.tolist())) for boxes in images]
        if not self.texts or not self.images:
            raise DataError(
                "data.box_grounding.absent needs files of expressions with nouns about boxes of known classes; "
                "name some in data.box_grounding.files or set it to 0"
            )

    def draw(self, rng: random.Random) -> BoxGroundingSample:
        """Returns a no-target sample."""
        for _ in range(_TRIES):
            text, classes = rng.choice(self.texts)
            boxes, there = rng.choice(self.images)
            if not classes & there:
                break
        else:
            # Every image shows what is named: then one without boxes.
            boxes = boxes.keep(boxes.category_ids[:0])
        return BoxGroundingSample(boxes=boxes, text=text, targets=())


def classes_named(text: str) -> frozenset[int]:
    """Returns all classes that a noun of `text` may name."""
    classes_of = _classes_by_noun()
    words = re.findall(r"[a-z]+", text.lower())
    return frozenset().union(*(classes_of.get(word, frozenset()) for word in words))


@cache
def _classes_by_noun() -> dict[str, frozenset[int]]:
    """Returns all classes that each word of a noun may name, singular or plural."""
    found: dict[str, set[int]] = {"people": {0}}
    for index, category in enumerate(NOUNS):
        for noun, _ in nouns(category):
            for form in (noun, plural(noun)):
                for word in form.split():
                    found.setdefault(word, set()).add(index)
    return {word: frozenset(classes) for word, classes in found.items()}
