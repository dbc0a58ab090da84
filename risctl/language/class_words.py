"""Lists the words that naming the classes of a split takes."""

from __future__ import annotations

from collections.abc import Collection

from risctl.language.coco_classes import CLASSES, ClassSplit
from risctl.language.head_nouns import plural
from risctl.language.location_phrases import RULE_WORDS


def class_words(split: ClassSplit) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the words of a split's class names, and words that help beside them and may lack a vector.

    The latter are words of location, plurals, names of several words as one, and COCO's other classes, since the
    background's vector is a mean over these, too.
    """
    names = (*split.seen, *split.unseen)
    plurals = [plural(name).split()[-1] for name in names]
    joined = [name.replace(" ", "_") for name in CLASSES.values() if " " in name]
    own = tuple(" ".join(names).split())
    others = [word for name in CLASSES.values() for word in name.split()]
    return own, tuple(word for word in (*RULE_WORDS, *plurals, *joined, *others) if word not in own)


def without_vector(split: ClassSplit, lacking: Collection[str]) -> list[str]:
    """Returns the classes of a split of which neither the name nor any word has a vector.

    Args:
        split: The classes.
        lacking: The words without a vector.
    """
    return [
        name
        for name in (*split.seen, *split.unseen)
        if name.replace(" ", "_") in lacking and all(word in lacking for word in name.split())
    ]
