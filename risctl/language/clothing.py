"""Reads from an expression which part of an object or a person a colour is said of."""

from __future__ import annotations

import re

from risctl.vision.colour_names import NAMES

WHOLE, UPPER, LOWER, TOP = "whole", "upper", "lower", "top"
_WORDS = {
    UPPER: "shirt shirts jacket coat sweater hoodie vest jersey tshirt tee sweatshirt blouse suit tank polo top dress "
    "uniform outfit robe cardigan",
    LOWER: "pants shorts jeans skirt trousers bottoms slacks shoes boots socks leggings",
    TOP: "hair haired hat cap helmet hood beanie beard",
}
_PART_OF = {word: part for part, words in _WORDS.items() for word in words.split()}
_JOINS = frozenset({"and", "in", "with", "wearing", "a", "the", "long", "short", "striped", "plaid", "t", "dress"})


def coloured_parts(text: str) -> tuple[tuple[str, str], ...]:
    """Returns (part, colour) for every colour of `text` that stands before a piece of clothing or before hair.

    Empty if any colour of it does not, since that one may be another object's.
    """
    words = re.findall(r"[a-z]+", text.lower().replace("grey", "gray"))
    found = []
    for index, word in enumerate(words):
        if word in NAMES:
            after = next((one for one in words[index + 1 : index + 4] if one not in _JOINS and one not in NAMES), "")
            if after not in _PART_OF:
                return ()
            found.append((_PART_OF[after], word))
    return tuple(found)
