"""Counts what was done with the predictions of a file: matched, missing, unknown, broken, resized, empty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from risctl.evaluation.scoring.matching import Tally
from risctl.evaluation.scoring.predicted_masks import INSTANCE_THRESHOLD

Missing = Literal["refuse", "empty", "skip"]


@dataclass(slots=True, kw_only=True)
class Coverage:
    """What was done with the predictions.

    Attributes:
        path: The file or folder.
        kind: What it is, in words.
        key: What named the expressions.
        sha256: Its digest.
        predictions: How many it holds.
        matched: Sentences that have a prediction.
        missing: Sentences that have none.
        missing_as: What was done with these.
        unknown: Predictions of no sentence of the split.
        broken: Predictions that could not be read.
        united: Sentences with several instances.
        resized: Masks that were resized.
        empty: Empty masks of sentences that have a target.
    """

    path: Path
    kind: str
    key: str
    sha256: str
    predictions: int
    matched: int
    missing: int
    missing_as: Missing
    unknown: Tally
    broken: Tally
    united: int
    resized: Tally = field(default_factory=Tally)
    empty: Tally = field(default_factory=Tally)

    def to_dict(self) -> dict[str, Any]:
        """Returns the coverage, ready for JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "key": self.key,
            "sha256": self.sha256,
            "predictions": self.predictions,
            "matched": self.matched,
            "missing": self.missing,
            "missing_as": self.missing_as,
            "unknown": self.unknown.count,
            "broken": self.broken.count,
            "several_instances": self.united,
            "resized": self.resized.count,
            "empty": self.empty.count,
        }

    def describe(self) -> str:
        """Returns what was scored, in words."""
        return (
            f"{self.sha256[:12]} ({self.kind}), matched by {self.key}: {self.matched:,} of "
            f"{self.matched + self.missing:,} sentences"
        )

    def notes(self) -> Iterator[str]:
        """Yields what a reader of the figures must know of the predictions."""
        if self.missing:
            what = "count as empty masks" if self.missing_as == "empty" else "are left out of the figures"
            yield f"missing: {self.missing:,} sentences without a prediction {what}"
        if self.broken.count:
            yield f"broken: {self.broken.text()} predictions could not be read and count as missing"
        if self.unknown.count:
            yield f"unknown: {self.unknown.text()} predictions are of no sentence of the split"
        if self.united:
            yield (
                f"instances: {self.united:,} sentences have several; a mask is the union of those with a score of at "
                f"least {INSTANCE_THRESHOLD:g}"
            )
        if self.resized.count:
            yield f"resized by nearest neighbour to the size of their images: {self.resized.text()} masks"
        if self.empty.count:
            yield f"empty: {self.empty.text()} sentences with a target have an empty mask"
