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
from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store
from risctl.errors import UsageError
from risctl.evaluation.concept_rows import CGF1, PBENCH, ConceptRow
from risctl.evaluation.text_table import aligned
from risctl.metrics.bootstrap import Interval
from risctl.metrics.concept import ConceptSample, concept_figures, pbench_figures
from risctl.metrics.concept_bootstrap import concept_intervals

CONCEPT_PROTOCOLS: Mapping[str, str] = {
    CGF1: "cgf1 (SAM 3 CGF1Evaluator, SA-Co): predictions with a score of at least 0.5; one Hungarian matching on mask "
    "IoU a pair, IoU .50 to .95 by .05; pairs whose instances are all marked; of several annotators the most "
    "favourable; crowds are no targets",
    PBENCH: "pbench (PBench): all predictions but those whose mask overlaps a larger one by IoU > 0.5; F1 a pair with "
    "a target, mean over IoU .50 to .95 by .05, of the split dense at .50",
}
"""The protocols by name, with the line that is printed with their figures."""

SHOWN = ("cgF1", "positive_micro_F1", "IL_MCC", "cgF1@0.5", "cgF1@0.75", "positive_macro_F1", "IL_F1", "f1")
"""The figures that are printed."""
TRACKED = "saco-veval"
"""The dataset whose stores hold tracks."""
PICTURE, VIDEO = "picture", "video"
_TITLES = {"positive_micro_F1": "positive_micro_F1 (pmF1)"}
_COUNTS = ("il_tp", "il_tn", "il_fp", "il_fn", "n_samples", "n_valid_f1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptReport:
    """Figures of concepts.

    Attributes:
        protocol: The protocol.
        dataset: Name of the dataset.
        fingerprint: Identifies the store's contents.
        split: The split that was asked for.
        figures: In percent (counts as they are): means over the subsets, where there are several.
        intervals: 95% intervals over pairs, in percent.
        subsets: The figures of each split.
        rows: One a pair.
        pairs: Pairs of the split.
        notes: What a reader of the figures must know.
        media: What phrases are of, `PICTURE` or `VIDEO`.
    """

    protocol: str
    dataset: str
    fingerprint: str
    split: str
    figures: dict[str, float]
    intervals: dict[str, Interval]
    subsets: dict[str, dict[str, float]]
    rows: tuple[ConceptRow, ...]
    pairs: int
    notes: tuple[str, ...] = ()
    media: str = PICTURE

    @property
    def source(self) -> str:
        """The line that is printed with the figures."""
        tracks = "; instances are tracks, their IoU the frames' intersections over their unions"
        return CONCEPT_PROTOCOLS[self.protocol] + (tracks if self.media == VIDEO else "")

    def to_dict(self) -> dict[str, Any]:
        """Returns the report, ready for JSON; null where there was nothing to measure."""
        return {
            "dataset": {"name": self.dataset, "fingerprint": self.fingerprint},
            "split": self.split,
            "protocol": self.source,
            "pairs": self.pairs,
            "evaluated": len(self.rows),
            "figures": _numbers(self.figures),
            "intervals": {name: [one.low, one.high] for name, one in self.intervals.items()},
            "subsets": {name: _numbers(figures) for name, figures in self.subsets.items()},
            "warnings": list(self.notes),
        }

    def to_text(self) -> str:
        """Returns the report as plain text."""
        table = [("", "%", "95% interval over pairs")]
        for name in (one for one in SHOWN if one in self.figures):
            interval = self.intervals.get(name)
            bounds = f"{interval.low:.2f} to {interval.high:.2f}" if interval and np.isfinite(interval.low) else "-"
            table.append((_TITLES.get(name, name), f"{self.figures[name]:.2f}", bounds))
        counted = f"{len(self.rows):,} of {self.pairs:,} pairs of {self.media} and phrase"
        head = f"{self.dataset}, split {self.split}: {counted}; data {self.fingerprint[:12]}"
        blocks = [f"{head}\n{self.source}", aligned(table)]
        if len(self.subsets) > 1:
            shown = [name for name in SHOWN if name in self.figures][:3]
            rows = [(subset, *(f"{figures[name]:.2f}" for name in shown)) for subset, figures in self.subsets.items()]
            blocks.append("means over the subsets:\n" + aligned([("subset", *shown), *rows]))
        blocks += ["\n".join(f"warning: {note}" for note in self.notes)] if self.notes else []
        return "\n\n".join(blocks)


def headline_of(protocol: str) -> str:
    """Returns the figure that stands for a protocol where there is room for one only."""
    return "cgF1" if protocol == CGF1 else "f1"


def concept_protocol_of(store: Store, name: str | None) -> str | None:
    """Returns the protocol of concepts that `name` names, or the dataset's own without a name; None if it is another.

    Raises:
        UsageError: It is named with others, or the store's videos have no tracks.
    """
    if name is None:
        dataset = DATASETS.get(store.name)
        return dataset.protocol if dataset is not None and dataset.protocol in CONCEPT_PROTOCOLS else None
    names = [one.strip() for one in name.split(",")]
    chosen = [one for one in names if one in CONCEPT_PROTOCOLS]
    if chosen and len(names) > 1:
        raise UsageError(f"{chosen[0]} counts instances and not masks; name it alone")
    if chosen and is_video_store(store) and (chosen[0] != CGF1 or store.name != TRACKED):
        raise UsageError(
            f"{chosen[0]} counts the instances of pictures, or with {CGF1} the tracks of {TRACKED}; {store.path} is "
            f"{store.name}, which has none: measure its masks with --protocol videos"
        )
    return chosen[0] if chosen else None


def concept_report(
    rows: Sequence[ConceptRow],
    store: Store,
    *,
    split: str,
    protocol: str,
    notes: Sequence[str],
    media: str = PICTURE,
    resamples: int = 1000,
) -> ConceptReport:
    """Returns the report of counted pairs.

    Args:
        rows: The pairs.
        store: Their store.
        split: The split that was asked for.
        protocol: `CGF1` or `PBENCH`.
        notes: What a reader of the figures must know.
        media: What phrases are of, `PICTURE` or `VIDEO`.
        resamples: How often pairs are drawn again for the intervals; 0 for none.
    """
    parts = parts_of(rows)
    subsets = {name: figures_in_percent([own], protocol) for name, own in parts.items()}
    figures = figures_in_percent(list(parts.values()), protocol)
    intervals = concept_intervals(list(parts.values()), per_sample=protocol == PBENCH, resamples=resamples)
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
        media=media,
    )


def parts_of(rows: Sequence[ConceptRow]) -> dict[str, list[ConceptSample]]:
    """Returns the samples of each split."""
    parts: dict[str, list[ConceptSample]] = {}
    for row in rows:
        parts.setdefault(row.split, []).append(row.found)
    return parts


def figures_in_percent(parts: Sequence[Sequence[ConceptSample]], protocol: str) -> dict[str, float]:
    """Returns the figures of a protocol in percent, means over the parts; counts are sums, as they are."""
    own = [concept_figures(samples) if protocol == CGF1 else pbench_figures(samples) for samples in parts]
    return {
        name: float(sum(one[name] for one in own))
        if name in _COUNTS
        else float(np.mean([100 * one[name] for one in own]))
        for name in (own[0] if own else ())
    }


def _numbers(figures: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if np.isfinite(value) else None for name, value in figures.items()}


def row_dicts(report: ConceptReport) -> Iterator[dict[str, Any]]:
    """Yields one row a pair, ready for JSON; `risctl compare` reads them."""
    about = {"protocol": report.protocol, "dataset": report.dataset, "fingerprint": report.fingerprint[:12]}
    for row in report.rows:
        yield {**about, **row.to_dict()}
