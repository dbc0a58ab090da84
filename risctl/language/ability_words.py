"""Finds which abilities the words of an expression call for: place, colour, size, order, relation.

For data whose expressions are not tagged. Words are matched without grammar: "the orange on the left" is said to name a
colour. What is *mentioned* is found, whether or not the target could be told without it.
"""

from __future__ import annotations

import re
from functools import lru_cache

ABILITIES = ("place", "colour", "size", "order", "relation")

_SIDE = (
    "left|right|top|bottom|upper|lower|middle|center|centre|central|corner|side|edge|front|back|background|foreground"
)
_COLOURS = (
    "red|green|blue|yellow|white|black|brown|gray|grey|orange|pink|purple|violet|beige|tan|silver|gold|golden|maroon|"
    "navy|teal|turquoise|aqua|cyan|magenta|lavender|khaki|cream|crimson|burgundy|olive|blond|blonde|brunette|redhead|"
    "colou?red|multicolou?red|colou?rful|dark|darker|darkest|lighter|lightest|bright|brightest|pale"
)
_SIZES = (
    "big|bigger|biggest|large|larger|largest|huge|giant|massive|small|smaller|smallest|tiny|tiniest|little|littlest|"
    "tall|taller|tallest|short|shorter|shortest|long|longer|longest|wide|wider|widest|narrow|thin|thinner|thinnest|"
    "thick|thicker|thickest|fat|fatter|fattest|medium|mini"
)
_NUMBER = r"(?:\d+|one|two|three|four|five|six)"
_ORDINAL = "first|second|third|fourth|fifth|sixth|seventh|eighth|last|1st|2nd|3rd|4th|5th|6th|7th|8th"
_MOST = "leftmost|rightmost|topmost|uppermost|bottommost|frontmost|backmost|innermost|outermost"
_FURTHEST = "farthest|furthest|far"
_DEPTH = "closest|closer|nearest|nearer|farthest|furthest|farther|further|foremost"
# What a place is a place in, when it is no object: "the left of the picture".
_IMAGE = r"(?:the\s+|this\s+)?(?:picture|image|photo|photograph|pic|screen|frame|shot|scene|view|us|you|it|all)\b"

_SIDE_OF_OTHER = (
    rf"\b(?:left|right|front|top|bottom|back)(?:\s+(?:hand\s+)?(?:side|corner|edge))?\s+of\s+(?!{_IMAGE})|"
    rf"\b(?:middle|center|centre)\s+of\s+(?:the\s+)?(?!{_IMAGE}|row\b|line\b|group\b)\w"
)
_BETWEEN = (
    r"next|beside|besides|near|(?:closest|closer|nearest|nearer)\s+to|behind|between|above|below|under|underneath|beneath|over|"
    r"against|around|inside|among|amongst|along|across|opposite|adjacent|touching|by|with|without|holding|wearing|"
    r"riding|carrying|facing|eating|drinking|pulling|pushing|throwing|catching|hitting|swinging|playing|using|covering|"
    r"leaning|lying|laying|sitting|standing|attached|surrounded|looking|talking|feeding|hugging|kissing|watching"
)
_POSTURE = r"(?:leaning|lying|laying|sitting|standing|looking|playing|facing)"
# "on", "at", "off" and "from" relate to an object, unless what follows names a place.
_ON_AN_OBJECT = (
    rf"\b(?:on|onto|off|at)\s+(?!(?:the\s+|its\s+|far\s+|very\s+|your\s+|our\s+|my\s+|extreme\s+)*"
    rf"(?:{_SIDE}|{_MOST}|{_FURTHEST}|end)\b)\w"
)

_ORDER = (
    rf"\b(?:{_ORDINAL})\b(?:\s+\w+){{0,3}}?\s+fro?m\s+(?:the\s+)?(?:far\s+)?(?:{_SIDE})\b|"
    rf"(?:\b{_NUMBER}|#\s*\d+)\s+(?:\w+\s+){{0,2}}?(?:in\s+)?fro?m\s+(?:the\s+)?(?:far\s+)?(?:{_SIDE})\b|"
    rf"\b(?:{_FURTHEST})\s+(?:to\s+|on\s+)?(?:the\s+)?(?:left|right|back|front)\b|"
    rf"\b(?:{_ORDINAL}|{_MOST})\b|(?:\bnumber\s+|\bno\.?\s*|#\s*){_NUMBER}\b"
)
_PATTERNS = {
    "place": re.compile(rf"\b(?:{_SIDE}|{_DEPTH}|lefthand|righthand|lft|rt|leftest|rightest)\b"),
    "colour": re.compile(rf"\b(?:(?:{_COLOURS})(?:d?ish|y)?)\b"),
    "size": re.compile(rf"\b(?:{_SIZES})\b"),
    "order": re.compile(_ORDER),
    "relation": re.compile(rf"{_SIDE_OF_OTHER}|\b(?:{_BETWEEN})\b|{_ON_AN_OBJECT}"),
}
_CLOSE_TO = r"(?:closest|closer|nearest|nearer)\s+to"
_NEAR_A_PLACE = re.compile(
    rf"\b(?:{_CLOSE_TO}|near|by|{_POSTURE})\s+(?:on\s+|at\s+|in\s+)?(?:the\s+)?(?:far\s+)?"
    rf"(?:{_SIDE}|camera|us|me|you|viewer)\b(?!\s+of\b)"
)
_NOT_IN_IMAGE = re.compile(rf"{_SIDE_OF_OTHER}|{_CLOSE_TO}\s+(?!(?:the\s+)?(?:camera|us|me|you|viewer)\b)|{_ORDER}")


# Every protocol, every validation of a run and every comparison asks about the same sentences again.
@lru_cache(maxsize=1 << 16)
def abilities_in(text: str) -> tuple[str, ...]:
    """Returns which of `ABILITIES` the words of `text` call for, in that order.

    A side of another object ("left of the tree") is a relation and no place; a side from which objects are counted
    ("second from the left", "leftmost") is order and no place.
    """
    lowered = text.lower()
    heard = {
        "place": _NOT_IN_IMAGE.sub(" ", lowered),
        # "near the bottom", "closest to the camera" relate to no object.
        "relation": _NEAR_A_PLACE.sub(" ", lowered),
    }
    return tuple(name for name in ABILITIES if _PATTERNS[name].search(heard.get(name, lowered)))
