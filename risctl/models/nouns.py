"""Finds which of a detector's categories a phrase is about, and the nouns that a detector by text is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from risctl.data.datasets.coco_phrases.lexicon import NOUNS
from risctl.errors import MachineError
from risctl.language.head_nouns import head_name
from risctl.language.tokens import bare, words_of

# Names that detectors trained on COCO give its categories, beside COCO's own.
_OTHER_NAMES = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
    "hair dryer": "hair drier",
}


def coco_name(label: str) -> str:
    """Returns the name that COCO gives a label of a detector, or the label in lower case."""
    plain = " ".join(label.lower().replace("_", " ").replace("-", " ").split())
    return _OTHER_NAMES.get(plain, plain)


def categories_of(text: str, labels: Sequence[str]) -> frozenset[str]:
    """Returns those of `labels` that a phrase's head noun may name: "the glass" a cup or a wine glass.

    Args:
        text: The phrase.
        labels: Categories, by their own names or COCO's.

    Returns:
        The categories; none if the noun names none of them.
    """
    nouns = _nouns()
    names = tuple(dict.fromkeys((*labels, *nouns)))
    words = [word for word in map(bare, words_of(text)) if word]
    found = head_name(words, names=names, is_known=lambda _: False)
    if found is None:
        return frozenset()
    return frozenset({found, *nouns.get(found, ())} & set(labels))


def nouns_of(text: str) -> tuple[str, ...]:
    """Returns the nouns of a phrase, its head first: what is referred to, and what it is related to.

    Without a parser, and where it finds no noun, the whole phrase is the only one.
    """
    try:
        # Not at the top: spaCy takes seconds to import.
        from risctl.language.noun_phrases import SHIPPED, load_phraser, universal_chunks

        phraser = load_phraser(str(SHIPPED))
    except (ImportError, MachineError):
        return (text,)
    [parsed] = phraser.parses([text])
    head = phraser(text).noun
    others = [parsed[end - 1].text for _, end in universal_chunks(parsed)]
    nouns = [noun for noun in (head, *others) if noun]
    return tuple(dict.fromkeys(nouns)) or (text,)


@lru_cache(maxsize=1)
def _nouns() -> dict[str, tuple[str, ...]]:
    """Returns the categories of COCO by the nouns that people use for them."""
    found: dict[str, list[str]] = {}
    for category, listed in NOUNS.items():
        for entry in listed.split(", "):
            found.setdefault(entry.rpartition(" ")[0], []).append(category)
    return {noun: tuple(categories) for noun, categories in found.items()}
