"""Splits texts into words, as the referring-segmentation datasets count them."""

from __future__ import annotations

import string

_EDGES = string.punctuation + "“”‘’«»…–—¿¡"


def words_of(text: str) -> list[str]:
    """Returns the lower-cased words of a text, separated at white space; punctuation stays.

    This is `sent.split()` of the published codebases: the sentences of RefCOCO are already in lower case.
    """
    return text.lower().split()


def bare(word: str) -> str:
    """Returns a word without the punctuation around it; an empty string if it is nothing else."""
    return word.strip(_EDGES)
