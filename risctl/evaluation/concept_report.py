"""Reports figures of concepts, where a phrase asks for every instance: SA-Co's cgF1 and PBench's F1.

A pair of picture and phrase is one sentence of a store. Its true instances are those of its target; in SA-Co those of
each annotator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from risctl.data.datasets.registry import DATASETS
from risctl.data.store.reader import Store
from risctl.errors import UsageError
from risctl.evaluation.text_table import aligned
from risctl.metrics.concept import (
    IOU_THRESHOLDS,
    SCORE_THRESHOLD,
    ConceptSample,
    concept_figures,
    concept_intervals,
    concept_sample,
    favourable,
    pbench_figures,
    suppressed_of,
)
from risctl.vision import rle
from risctl.vision.rle import RLE

CGF1, PBENCH = "cgf1", "pbench"
CONCEPT_PROTOCOLS: Mapping[str, str] = {
    CGF1: "cgf1 (SAM 3 CGF1Evaluator, SA-Co): predictions with a score of at least 0.5; one Hungarian matching on mask "
    "IoU a pair, IoU .50 to .95 by .05; pairs whose instances are all marked; of several annotators the most "
    "favourable; crowds are no targets",
    PBENCH: "pbench (PBench): all predictions but those whose mask overlaps a larger one by IoU > 0.5; F1 a pair with "
    "a target, mean over IoU .50 to .95 by .05, of the split dense at .50",
}
"""The protocols by name, with the line that is printed with their figures."""

_SACO, _NOT_EXHAUSTIVE, _DENSE = "saco", "not exhaustive", "dense"
_SHOWN = ("cgF1", "positive_micro_F1", "IL_MCC", "cgF1@0.5", "cgF1@0.75", "positive_macro_F1", "IL_F1", "f1")
_TITLES = {"positive_micro_F1": "positive_micro_F1 (pmF1)"}
_COUNTS = ("il_tp", "il_tn", "il_fp", "il_fn", "n_samples", "n_valid_f1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptRow:
    """What was counted of a pair: the true instances, the predictions that count, and the hits by threshold of IoU."""

    sample: int
    split: str
    image_id: int
    sentence_id: int
    text: str
    found: ConceptSample

    def to_dict(self) -> dict[str, Any]:
        """Returns the row, ready for JSON."""
        return {
            "sample": self.sample,
            "split": self.split,
            "image_id": self.image_id,
            "sentence_id": self.sentence_id,
            "text": self.text,
            "true": self.found.true,
            "predicted": self.found.predicted,
            "hits": self.found.hits.tolist(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptReport:
    """Figures of concepts.

    Attributes:
        protocol: The protocol.
        dataset: Name of the dataset.
        fingerprint: Identifies the store's contents.
        split: The split that was asked for.
        figures: In percent (counts as they are): means over the subsets, where there are several.
        intervals: 95% intervals over pairs, in percent; none of a mean over subsets.
        subsets: The figures of each split.
        rows: One a pair.
        pairs: Pairs of the split.
        notes: What a reader of the figures must know.
    """

    protocol: str
    dataset: str
    fingerprint: str
    split: str
    figures: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    subsets: dict[str, dict[str, float]]
    rows: tuple[ConceptRow, ...]
    pairs: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the report, ready for JSON; null where there was nothing to measure."""
        return {
            "dataset": {"name": self.dataset, "fingerprint": self.fingerprint},
            "split": self.split,
            "protocol": CONCEPT_PROTOCOLS[self.protocol],
            "pairs": self.pairs,
            "evaluated": len(self.rows),
            "figures": _numbers(self.figures),
            "intervals": {name: list(bounds) for name, bounds in self.intervals.items()},
            "subsets": {name: _numbers(figures) for name, figures in self.subsets.items()},
            "warnings": list(self.notes),
        }

    def to_text(self) -> str:
        """Returns the report as plain text."""
        table = [("", "%", "95% interval over pairs")]
        for name in (one for one in _SHOWN if one in self.figures):
            low, high = self.intervals.get(name, (float("nan"), float("nan")))
            bounds = f"{low:.2f} to {high:.2f}" if np.isfinite(low) else "-"
            table.append((_TITLES.get(name, name), f"{self.figures[name]:.2f}", bounds))
        counted = f"{len(self.rows):,} of {self.pairs:,} pairs of picture and phrase"
        head = f"{self.dataset}, split {self.split}: {counted}; data {self.fingerprint[:12]}"
        blocks = [f"{head}\n{CONCEPT_PROTOCOLS[self.protocol]}", aligned(table)]
        if len(self.subsets) > 1:
            shown = [name for name in _SHOWN if name in self.figures][:3]
            rows = [(subset, *(f"{figures[name]:.2f}" for name in shown)) for subset, figures in self.subsets.items()]
            blocks.append("means over the subsets:\n" + aligned([("subset", *shown), *rows]))
        blocks += ["\n".join(f"warning: {note}" for note in self.notes)] if self.notes else []
        return "\n\n".join(blocks)


def concept_protocol_of(store: Store, name: str | None) -> str | None:
    """Returns the protocol of concepts that `name` names, or the dataset's own without a name; None if it is another.

    Raises:
        UsageError: It is named with others.
    """
    if name is None:
        dataset = DATASETS.get(store.name)
        return dataset.protocol if dataset is not None and dataset.protocol in CONCEPT_PROTOCOLS else None
    names = [one.strip() for one in name.split(",")]
    chosen = [one for one in names if one in CONCEPT_PROTOCOLS]
    if chosen and len(names) > 1:
        raise UsageError(f"{chosen[0]} counts instances and not masks; name it alone")
    return chosen[0] if chosen else None


class ConceptTruth:
    """The true instances of a store's pairs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_annotator = store.name == _SACO
        self._categories = store.numbers("annotations/category")
        self._crowds = store.numbers("annotations/crowd")

    def counts(self, sentence: int) -> bool:
        """Returns whether every instance of the pair is marked."""
        return _NOT_EXHAUSTIVE not in self._store.sentence(sentence).abilities

    def instances(self, sentence: int) -> list[list[RLE]]:
        """Returns the instances of a pair by each annotator, crowds left out."""
        ref = self._store.ref(self._store.sentence(sentence).ref)
        if not self._by_annotator:
            return [self._masks(ref.annotations)]
        rows = self._store.annotations_of(ref.image).tolist()
        return [
            self._masks(tuple(row for row in rows if self._categories[row] == annotator))
            for annotator in self._store.categories
        ]

    def _masks(self, rows: Sequence[int]) -> list[RLE]:
        return [self._store.annotation(row).mask for row in rows if not self._crowds[row]]


def concept_sample_of(
    masks: Sequence[RLE], scores: Sequence[float], truth: Sequence[Sequence[RLE]], *, protocol: str, dense: bool = False
) -> ConceptSample:
    """Counts one pair.

    Args:
        masks: The predicted instances.
        scores: Their scores.
        truth: The true instances by each annotator.
        protocol: `CGF1` or `PBENCH`.
        dense: Whether the pair is of PBench's dense split, which has one threshold.
    """
    if protocol == CGF1:
        kept = [mask for mask, score in zip(masks, scores, strict=True) if score >= SCORE_THRESHOLD]
        return favourable([concept_sample(rle.ious(kept, own)) for own in truth])
    areas = np.array([rle.area(mask) for mask in masks], dtype=np.int64)
    kept = [masks[place] for place in suppressed_of(areas, rle.ious(masks, masks)).tolist()]
    return concept_sample(rle.ious(kept, truth[0]), thresholds=IOU_THRESHOLDS[:1] if dense else IOU_THRESHOLDS)


def is_dense(protocol: str, split: str) -> bool:
    """Returns whether a split has one threshold."""
    return protocol == PBENCH and split == _DENSE


def concept_report(
    rows: Sequence[ConceptRow], store: Store, *, split: str, protocol: str, notes: Sequence[str], resamples: int = 1000
) -> ConceptReport:
    """Returns the report of counted pairs.

    Args:
        rows: The pairs.
        store: Their store.
        split: The split that was asked for.
        protocol: `CGF1` or `PBENCH`.
        notes: What a reader of the figures must know.
        resamples: How often pairs are drawn again for the intervals; 0 for none.
    """
    parts: dict[str, list[ConceptSample]] = {}
    for row in rows:
        parts.setdefault(row.split, []).append(row.found)
    subsets = {name: _percent(_figures(own, protocol)) for name, own in parts.items()}
    names = next(iter(subsets.values()), {})
    figures = {name: _mean_or_sum(name, [own[name] for own in subsets.values()]) for name in names}
    intervals: dict[str, tuple[float, float]] = {}
    if protocol == CGF1 and len(subsets) == 1:
        found = concept_intervals([row.found for row in rows], resamples=resamples)
        intervals = {name: (100 * low, 100 * high) for name, (low, high) in found.items()}
    pairs = len(store.sentences(split))
    left_out = [f"{pairs - len(rows):,} pairs count in no figure: an annotator did not mark every instance"]
    return ConceptReport(
        protocol=protocol,
        dataset=store.name,
        fingerprint=store.fingerprint,
        split=split,
        figures=figures,
        intervals=intervals,
        subsets=subsets,
        rows=tuple(rows),
        pairs=pairs,
        notes=(*(left_out if len(rows) < pairs else ()), *notes),
    )


def _figures(samples: Sequence[ConceptSample], protocol: str) -> dict[str, float]:
    return concept_figures(samples) if protocol == CGF1 else pbench_figures(samples)


def _percent(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: value if name in _COUNTS else 100 * value for name, value in figures.items()}


def _mean_or_sum(name: str, values: Sequence[float]) -> float:
    return float(sum(values)) if name in _COUNTS else float(np.mean(values))


def _numbers(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


def row_dicts(report: ConceptReport) -> Iterator[dict[str, Any]]:
    """Yields one row a pair, ready for JSON."""
    for row in report.rows:
        yield {"protocol": report.protocol, "dataset": report.dataset, **row.to_dict()}
