"""Compares evaluated runs sample by sample with the first of them: figures, breakdowns, and samples that flipped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from risctl.errors import UsageError, unknown_name
from risctl.evaluation.report import FEW_IMAGES
from risctl.evaluation.saved_rows import MeasuredRun
from risctl.metrics.bootstrap import LEVEL, Difference, paired_differences
from risctl.metrics.figures import figures
from risctl.metrics.paired import ChangedPart, Flip, compared_parts, flips
from risctl.metrics.protocols import VIDEO_PROTOCOLS, Protocol
from risctl.metrics.rows import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedComparison:
    """One run compared with the first under one protocol.

    Attributes:
        run: The run.
        rows: Its samples.
        before: The first run's figures, in percent.
        after: This run's figures, in percent.
        differences: Paired differences of figures, with intervals.
        parts: Every group of the breakdowns that could be compared.
        flips: Samples that were won or lost.
    """

    run: MeasuredRun
    rows: Rows
    before: dict[str, float]
    after: dict[str, float]
    differences: dict[str, Difference]
    parts: tuple[ChangedPart, ...]
    flips: tuple[Flip, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several runs compared with the first, `base`, under one protocol.

    Attributes:
        protocol: The protocol.
        base: The first run.
        rows: Its samples.
        against: Each further run compared with it.
        resamples: How often images are drawn again for the intervals.
        seed: The seed of these draws.
    """

    protocol: Protocol
    base: MeasuredRun
    rows: Rows
    against: tuple[PairedComparison, ...]
    resamples: int
    seed: int

    @property
    def images(self) -> int:
        """The number of images that the samples are of; the intervals draw these again."""
        return len(np.unique(self.rows.image_id))

    @property
    def warnings(self) -> list[str]:
        """What a reader of the differences must know."""
        found = []
        if self.images < FEW_IMAGES:
            found.append(
                f"small sample: {self.images} image{'s' if self.images != 1 else ''}; the intervals are wide and "
                f"themselves uncertain below {FEW_IMAGES}"
            )
        same = [
            comparison.run.path
            for comparison in self.against
            if comparison.run.checkpoint and comparison.run.checkpoint == self.base.checkpoint
        ]
        found += [f"one checkpoint: {path} and {self.base.path} were measured with the same weights" for path in same]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Returns the comparison, ready for JSON; null where there was nothing to measure."""
        return {
            "protocol": self.protocol.name,
            "describe": self.protocol.describe(),
            "threshold": self.protocol.threshold,
            "data": self.base.origin or None,
            "samples": len(self.rows),
            "images": self.images,
            "resamples": self.resamples,
            "resampled": "videos" if self.protocol.boundary and self.protocol.name in VIDEO_PROTOCOLS else "images",
            "seed": self.seed,
            "level": LEVEL,
            "base": _run(self.base),
            "against": [self._against(comparison) for comparison in self.against],
            "warnings": self.warnings,
        }

    def _against(self, one: PairedComparison) -> dict[str, Any]:
        return {
            "run": _run(one.run),
            "figures": {
                name: {
                    "before": _number(one.before[name]),
                    "after": _number(after),
                    **_difference(one.differences.get(name)),
                }
                for name, after in one.after.items()
            },
            "breakdowns": [
                {
                    "breakdown": part.breakdown,
                    "title": part.title,
                    "group": part.group,
                    "samples": part.samples,
                    "images": part.images,
                    "few": part.few,
                    "figure": part.figure,
                    "before": _number(part.before),
                    "after": _number(part.after),
                    **_difference(part.difference),
                }
                for part in one.parts
            ],
            # So many intervals miss the truth even if nothing changed.
            "changed_by_chance": round((1 - LEVEL) * len(one.parts), 2),
            "flips": {
                "won": [self._flip(flip) for flip in one.flips if flip.won],
                "lost": [self._flip(flip) for flip in one.flips if not flip.won],
            },
        }

    def _flip(self, flip: Flip) -> dict[str, Any]:
        return {
            "sample": int(self.rows.key[flip.position]),
            **self.rows.ids(flip.position),
            "targeted": bool(self.rows.targeted[flip.position]),
            "before": flip.before,
            "after": flip.after,
        }


def compare_runs(
    runs: Sequence[MeasuredRun], *, protocol: str | None = None, resamples: int = 1000, seed: int = 0
) -> Comparison:
    """Compares each further run with the first.

    Differences are paired, and their intervals come from resampled images.

    Args:
        runs: Two runs or more.
        protocol: The protocol's name; None takes the first that all runs were evaluated by.
        resamples: How often images are drawn again.
        seed: The seed of these draws.

    Raises:
        UsageError: There are fewer than two runs, or they are of different data, protocols, thresholds or samples.
    """
    if len(runs) < 2:
        raise UsageError("name at least two runs to compare")
    base = runs[0]
    for other in runs[1:]:
        _check_data(base, other)
    name = _protocol(runs, protocol)
    chosen, rows = base.protocols[name], base.rows[name]
    for other in runs[1:]:
        _check_samples(base, other, name)
    against = []
    for other in runs[1:]:
        theirs = other.rows[name]
        against.append(
            PairedComparison(
                run=other,
                rows=theirs,
                before=figures(rows, chosen),
                after=figures(theirs, chosen),
                differences=paired_differences(rows, theirs, chosen, seed=seed, resamples=resamples),
                parts=tuple(compared_parts(rows, theirs, chosen, seed=seed, resamples=resamples)),
                flips=tuple(flips(rows, theirs, chosen)),
            )
        )
    return Comparison(protocol=chosen, base=base, rows=rows, against=tuple(against), resamples=resamples, seed=seed)


def _check_data(base: MeasuredRun, other: MeasuredRun) -> None:
    for name, own in base.origin.items():
        theirs = other.origin.get(name, own)
        if theirs != own:
            what = {"fingerprint": "content of the store", "split_by": "kind of split", "text_field": "text field"}
            raise UsageError(
                f"runs are compared on the same data; the {what.get(name, name)} of {base.path} is {own!r}, that of "
                f"{other.path} {theirs!r}; evaluate both on one store and split"
            )


def _protocol(runs: Sequence[MeasuredRun], requested: str | None) -> str:
    base = runs[0]
    shared = [name for name in base.protocols if all(name in run.protocols for run in runs)]
    if requested is None:
        if not shared:
            told = "; ".join(f"{run.path} by {', '.join(run.protocols)}" for run in runs)
            raise UsageError(f"runs are compared under one protocol, and none is in all: {told}; evaluate both by one")
        name = shared[0]
    else:
        name = requested
        for run in runs:
            if name not in run.protocols:
                raise UsageError(f"{run.path}: {unknown_name('protocol of its rows', name, run.protocols)}")
    for other in runs[1:]:
        own, theirs = base.protocols[name], other.protocols[name]
        # Where a published convention leaves the threshold to the model, two models may well have two.
        leaves_it = own.threshold_rule == "open" and name != "original"
        if own.threshold != theirs.threshold and not leaves_it:
            raise UsageError(
                f"runs are compared at one threshold; under {name} that of {base.path} is {own.threshold:g}, that of "
                f"{other.path} {theirs.threshold:g}; evaluate both with the same --threshold"
            )
    return name


def _check_samples(base: MeasuredRun, other: MeasuredRun, protocol: str) -> None:
    own, theirs = base.rows[protocol], other.rows[protocol]
    if not np.array_equal(own.key, theirs.key):
        raise UsageError(
            f"runs are compared on the same samples; {len(np.setdiff1d(own.key, theirs.key))} are in {base.path} only, "
            f"{len(np.setdiff1d(theirs.key, own.key))} in {other.path} only; evaluate both without --limit"
        )
    for column, what in (("image_id", "image"), ("sentence_id", "sentence"), ("text", "text")):
        different = np.flatnonzero(getattr(own, column) != getattr(theirs, column))
        if len(different):
            raise UsageError(
                f"runs are compared on the same samples; sample {int(own.key[different[0]])} has another {what} in "
                f"{other.path} than in {base.path}; evaluate both on one store"
            )


def _run(run: MeasuredRun) -> dict[str, Any]:
    return {"rows": str(run.path), "checkpoint": run.checkpoint}


def _difference(difference: Difference | None) -> dict[str, Any]:
    if difference is None:
        return {"difference": None, "low": None, "high": None, "significant": None}
    return {
        "difference": _number(difference.value),
        "low": _number(difference.low),
        "high": _number(difference.high),
        "significant": difference.significant,
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
