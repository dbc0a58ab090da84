"""Splits a text into words and their hashed character n-grams, without torch.

Bojanowski et al., "Enriching Word Vectors with Subword Information" (2017); here n-grams of 3 and 4 in few buckets.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

_WORD = re.compile(r"[^\W_]+")
GRAMS = 15


def split_words(text: str, *, max_words: int = 20) -> list[str]:
    """Splits a text into at most `max_words` lower-cased words; apostrophes and hyphens separate words."""
    return _WORD.findall(text.casefold())[:max_words]


def gram_buckets(word: str, *, buckets: int) -> list[int]:
    """Returns the buckets (0 to `buckets` - 1) of the character n-grams of `word`, at most `GRAMS`."""
    marked = f"<{word}>"
    grams = [marked[start : start + length] for length in (3, 4) for start in range(len(marked) - length + 1)]
    # Long words keep their beginning and end, where stem and inflection are.
    if len(grams) > GRAMS:
        grams = grams[: GRAMS // 2] + grams[-(GRAMS - GRAMS // 2) :]
    return [zlib.crc32(gram.encode("utf-8")) % buckets for gram in grams]


def word_ids(text: str, *, rows: Mapping[str, int], buckets: int, max_words: int) -> list[list[int]]:
    """Returns the ids of each word of a text: its own row, 1 if it is unknown, and those of its n-grams, from 1 on.

    Args:
        text: The text.
        rows: The row of each known word, from 2 on.
        buckets: Buckets of n-grams.
        max_words: Words that are read at most.

    Returns:
        A list of 1 to 1 + `GRAMS` ids a word.
    """
    return [
        [rows.get(word, 1), *(bucket + 1 for bucket in gram_buckets(word, buckets=buckets))]
        for word in split_words(text, max_words=max_words)
    ]
