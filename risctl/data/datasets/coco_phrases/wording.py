"""Tables of how often people word place, order, size and relation in which way.

A weight is how often the wording stood among 10,231 RefCOCO train expressions once nouns and colours were blanked out
("left N" 417 times, "N in C" 149 times). Wordings that a fixed table must have but that are rare there weigh 1 to 3.
"{n}" is the noun; "{o}" in a relation the other object.
"""

from __future__ import annotations

from collections.abc import Mapping

# The forms of a phrase for one target, with their shares in the sample's templates.
FORMS: Mapping[str, float] = {
    "bare": 679,
    "place": 2400,
    "order": 210,
    "colour": 620,
    "size": 130,
    "relation": 330,
    "colour and place": 260,
    "size and place": 40,
    "noun-free": 130,
}

_SIDES = {
    "left": {
        "left {n}": 417,
        "{n} on left": 227,
        "{n} left": 90,
        "{n} on the left": 69,
        "far left {n}": 43,
        "{n} on far left": 23,
        "{n} far left": 22,
        "leftmost {n}": 13,
        "left most {n}": 11,
        "{n} on the far left": 6,
        "{n} to the left": 6,
        "the {n} on the left": 6,
        "first {n} on left": 6,
        "{n} left side": 4,
        "{n} on left side": 4,
        "first {n} from left": 3,
        "{n} on the left side": 2,
        "{n} all the way to the left": 1,
    },
    "top": {
        "top {n}": 48,
        "{n} on top": 10,
        "upper {n}": 6,
        "{n} at top": 6,
        "{n} top": 5,
        "highest {n}": 3,
        "topmost {n}": 2,
        "{n} at the top": 5,
        "the {n} at the top": 2,
    },
    "bottom": {
        "bottom {n}": 48,
        "{n} on bottom": 10,
        "lower {n}": 6,
        "{n} at bottom": 6,
        "{n} bottom": 6,
        "lowest {n}": 3,
        "{n} at the bottom": 5,
        "the {n} at the bottom": 2,
    },
    "front": {
        "front {n}": 73,
        "{n} in front": 59,
        "{n} closest to us": 18,
        "closest {n}": 18,
        "{n} front": 15,
        "{n} in the front": 6,
        "nearest {n}": 5,
        "{n} in foreground": 4,
        "{n} closest": 6,
        "{n} nearest us": 3,
        "{n} closest to camera": 4,
        "{n} closest to the camera": 2,
        "{n} up front": 3,
        "the {n} in front": 3,
        "the closest {n}": 2,
    },
    "back": {
        "{n} in back": 43,
        "back {n}": 20,
        "{n} in the back": 10,
        "{n} in background": 7,
        "{n} in the background": 5,
        "{n} back": 5,
        "farthest {n}": 6,
        "far {n}": 4,
        "furthest {n}": 3,
        "{n} farthest away": 3,
        "{n} farthest back": 2,
        "{n} behind": 3,
        "the {n} in the back": 2,
    },
    "middle": {
        "middle {n}": 99,
        "{n} in middle": 39,
        "center {n}": 32,
        "{n} in the middle": 18,
        "{n} in center": 12,
        "{n} middle": 6,
        "{n} center": 6,
        "the {n} in the middle": 4,
        "{n} in the center": 4,
        "centre {n}": 1,
    },
    "top left": {
        "top left {n}": 26,
        "upper left {n}": 8,
        "{n} top left": 6,
        "{n} upper left": 5,
        "{n} in top left": 3,
        "{n} top left corner": 3,
        "{n} in top left corner": 3,
        "{n} in upper left corner": 2,
        "left top {n}": 3,
        "{n} on top left": 3,
        "{n} in the top left": 1,
    },
    "bottom left": {
        "bottom left {n}": 36,
        "lower left {n}": 6,
        "{n} bottom left": 8,
        "{n} lower left": 7,
        "{n} in bottom left": 3,
        "left bottom {n}": 5,
        "{n} bottom left corner": 3,
        "{n} in bottom left corner": 3,
        "{n} in lower left corner": 2,
        "{n} on bottom left": 3,
        "{n} in the bottom left": 1,
    },
    "front left": {
        "front left {n}": 10,
        "{n} front left": 9,
        "left front {n}": 6,
        "{n} in front on left": 4,
        "{n} on left in front": 3,
        "{n} in front left": 2,
        "{n} on the left in front": 1,
    },
    "back left": {
        "back left {n}": 7,
        "{n} back left": 4,
        "left back {n}": 3,
        "{n} in back on left": 4,
        "{n} in back left": 3,
        "{n} on left in back": 3,
        "{n} in the back on the left": 1,
    },
}


def _mirrored(table: Mapping[str, float]) -> dict[str, float]:
    return {wording.replace("left", "right"): weight for wording, weight in table.items()}


PLACES: Mapping[str, Mapping[str, float]] = {
    **_SIDES,
    **{name.replace("left", "right"): _mirrored(table) for name, table in _SIDES.items() if "left" in name},
}
NOUN_FREE: Mapping[str, Mapping[str, float]] = {
    "left": {"left": 28, "left one": 6, "on left": 4, "far left": 7, "left side": 3, "one on left": 3, "leftmost": 3},
    "right": {"right": 20, "right one": 9, "on right": 5, "far right": 7, "right side": 3, "one on right": 3},
    "middle": {"middle": 10, "middle one": 5, "center": 4, "one in middle": 2},
    "top": {"top": 3, "top one": 3, "on top": 2},
    "bottom": {"bottom": 3, "bottom one": 3, "on bottom": 2},
    "front": {"front": 3, "in front": 3, "front one": 2, "closest to us": 3, "closest": 3, "the closest one": 1},
    "back": {"back": 2, "in back": 3, "back one": 2, "the one in the back": 1},
    "top left": {"top left": 5, "upper left": 3, "top left corner": 2},
    "top right": {"top right": 5, "upper right": 3, "top right corner": 2},
    "bottom left": {"bottom left": 4, "lower left": 3, "bottom left corner": 2},
    "bottom right": {"bottom right": 5, "lower right": 3, "bottom right corner": 2},
}
ORDER: Mapping[str, float] = {
    "{r} {n} from {s}": 45,
    "{n} {r} from {s}": 26,
    "{r} from {s} {n}": 12,
    "{r} from {s}": 19,
    "{r} {n} from the {s}": 10,
    "{r} from the {s}": 4,
    "the {r} {n} from the {s}": 3,
    "{r} {n} on {s}": 3,
    "{n} {r} from the {s}": 3,
}
RANKS: Mapping[int, Mapping[str, float]] = {
    2: {"second": 9, "2nd": 2},
    3: {"third": 9, "3rd": 2},
    4: {"fourth": 9, "4th": 2},
    5: {"fifth": 9, "5th": 2},
}
SIZES: Mapping[str, Mapping[str, float]] = {
    "big": {"big {n}": 21, "biggest {n}": 7, "large {n}": 7, "bigger {n}": 6, "largest {n}": 6, "larger {n}": 5},
    "small": {
        "little {n}": 13,
        "small {n}": 8,
        "smaller {n}": 6,
        "smallest {n}": 5,
        "tiny {n}": 2,
        "the smaller {n}": 2,
    },
    "tall": {"tall {n}": 7, "taller {n}": 4, "tallest {n}": 4},
    "short": {"short {n}": 5, "shorter {n}": 3, "shortest {n}": 2},
}
COLOURED: Mapping[str, float] = {"{c} {n}": 399, "the {c} {n}": 5, "{n} {c}": 9}
DRESSED: Mapping[str, float] = {"{n} in {c}": 149, "the {n} in {c}": 8, "{c} {n}": 20, "{n} wearing {c}": 8}
RELATIONS: Mapping[str, Mapping[str, float]] = {
    "behind": {"{n} behind {o}": 21, "{n} behind the {o}": 9, "the {n} behind the {o}": 3, "{n} in back of {o}": 2},
    "in front of": {"{n} in front of {o}": 10, "{n} in front of the {o}": 4, "the {n} in front of the {o}": 2},
    "left of": {
        "{n} left of {o}": 6,
        "{n} to left of {o}": 5,
        "{n} to the left of {o}": 5,
        "{n} on left of {o}": 3,
        "{n} to the left of the {o}": 3,
    },
    "right of": {
        "{n} right of {o}": 6,
        "{n} to right of {o}": 5,
        "{n} to the right of {o}": 5,
        "{n} on right of {o}": 3,
        "{n} to the right of the {o}": 3,
    },
    "above": {"{n} above {o}": 16, "{n} above the {o}": 5, "{n} over {o}": 3},
    "under": {"{n} under {o}": 12, "{n} below {o}": 5, "{n} under the {o}": 5, "{n} underneath {o}": 2},
    "near": {
        "{n} next to {o}": 12,
        "{n} near {o}": 10,
        "{n} by {o}": 8,
        "{n} closest to {o}": 8,
        "{n} next to the {o}": 5,
        "{n} beside {o}": 4,
        "{n} near the {o}": 3,
        "{n} nearest {o}": 2,
        "{n} close to {o}": 3,
    },
    "with": {"{n} with {o}": 16, "{n} with the {o}": 4, "{n} holding {o}": 8, "{n} with a {o}": 3},
    "on": {"{n} on {o}": 14, "{n} on the {o}": 5, "{n} sitting on {o}": 3},
    "between": {"{n} between {o} and {p}": 6, "{n} between the {o} and the {p}": 2, "{n} in between {o} and {p}": 2},
}
ALL: Mapping[str, float] = {"all the {n}": 6, "all {n}": 5, "the {n}": 4, "{n}": 5, "all of the {n}": 3, "every {s}": 1}
BOTH: Mapping[str, float] = {"both {n}": 8, "the two {n}": 4, "two {n}": 4, "both of the {n}": 2, "both the {n}": 2}
COUNTED: Mapping[str, float] = {"all {k} {n}": 3, "the {k} {n}": 3, "{k} {n}": 2}
COUNTS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
GROUP_PLACES: Mapping[str, Mapping[str, float]] = {
    "left": {"{n} on left": 5, "{n} on the left": 4, "{n} left": 1},
    "right": {"{n} on right": 5, "{n} on the right": 4, "{n} right": 1},
    "top": {"{n} on top": 3, "top {n}": 3, "{n} at the top": 2},
    "bottom": {"{n} on bottom": 3, "bottom {n}": 3, "{n} at the bottom": 2},
}
