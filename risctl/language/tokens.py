"""A text's words, as the referring-segmentation datasets count them."""

from __future__ import annotations

import string

_EDGES = string.punctuation + "“”‘’«»…–—¿¡"


def words_of(text: str) -> list[str]:
    """Return the lower-cased, white-space separated words of `text`; punctuation stays where it stands.

    This is `sent.split()` of the published codebases: the sentences of RefCOCO are already lower-case.
    """
    return text.lower().split()


def bare(word: str) -> str:
    """Return `word` without the punctuation around it ("man," → "man"), or "" if it is nothing else."""
    return word.strip(_EDGES)
