"""Formats the line that `risctl predict` and `risctl zeroshot predict` print for each phrase."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from risctl.cli import console

# A mask of this share of the picture or more means that the model distinguished nothing.
_WHOLE = 0.95


def result_line(record: Mapping[str, Any]) -> str:
    """Returns phrase, score, box and, where it has a file, mask of a prediction's record, separated by tabs."""
    if not record["matched"]:
        box = "no match"
    elif record["box"] is None:
        box = "nothing found"
    else:
        box = ",".join(f"{side:g}" for side in record["box"])
    file = (record["mask"],) if "mask" in record else ()
    return console.line_of((" ".join(record["text"].split()), f"{record['score']:.3f}", box, *file))


def remark_on_mask(record: Mapping[str, Any], *, image: str) -> None:
    """Says so where the mask is nearly the whole picture, which a person might take for a find."""
    share = record["area"] / prod(record["segmentation"]["size"])
    if share >= _WHOLE:
        console.say(
            f"{record['text']!r}: the mask covers {share:.0%} of {image}: the model distinguishes nothing, unless the "
            "object fills the picture"
        )
