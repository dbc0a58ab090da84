"""The line that `risctl predict` and `risctl zeroshot predict` print for each phrase."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from risctl.cli import console


def result_line(record: Mapping[str, Any]) -> str:
    """Returns phrase, score, box and mask of a prediction's record, separated by tabs."""
    if not record["matched"]:
        box = "no match"
    elif record["box"] is None:
        box = "nothing found"
    else:
        box = ",".join(f"{side:g}" for side in record["box"])
    return console.line_of((" ".join(record["text"].split()), f"{record['score']:.3f}", box, record["mask"]))
