"""Turns an evaluation of concepts into a report, for the same page, Markdown and JSON as one of masks.

Figures, intervals and breakdowns are those of the instances. Single pairs are listed by the IoU of all their instances
together, which is what their pictures show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from risctl.data.store.reader import Store
from risctl.evaluation.concept_report import (
    SHOWN,
    ConceptReport,
    figures_in_percent,
    headline_of,
    parts_of,
)
from risctl.evaluation.concept_rows import PBENCH, ConceptRow
from risctl.evaluation.report import Report, Result
from risctl.metrics.breakdowns import Breakdown, Part, breakdowns
from risctl.metrics.concept_bootstrap import concept_intervals
from risctl.metrics.protocols import Protocol
from risctl.metrics.rows import Rows, rows_of

_PART_RESAMPLES = 200
"""Draws for the interval of a group: there are many groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptResult(Result):
    """The result of a protocol of concepts."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the result, ready for JSON."""
        name = self.protocol.name
        # Named, since slots give the class another cell than `super()` looks for.
        return Result.to_dict(self) | {"protocol": self.protocol.source, "headline": headline_of(name)}


def rows_of_pairs(rows: Sequence[ConceptRow]) -> Rows:
    """Returns pairs as rows of masks: all instances of a pair together."""
    return rows_of(
        [
            {
                **row.to_dict(),
                "targeted": bool(row.found.true),
                "predicted_none": not row.found.predicted,
                "intersection": row.intersection,
                "union": row.union,
                "predicted": row.predicted,
            }
            for row in rows
        ]
    )


def pair_breakdowns(rows: Rows, pairs: Sequence[ConceptRow]) -> list[Breakdown]:
    """Returns how pairs are divided: as samples of masks are, and by subset where there are several."""
    names = list(dict.fromkeys(one.split for one in pairs))
    of = np.array([names.index(one.split) for one in pairs])
    groups = {name: of == place for place, name in enumerate(names)}
    subsets = Breakdown(name="subset", title="Subset", about="the split that a pair is of", groups=groups)
    return [*([subsets] if len(names) > 1 else []), *breakdowns(rows)]


def page_report(
    concept: ConceptReport,
    store: Store,
    *,
    seconds: float,
    predictions: str = "",
    device: str = "cpu",
    checkpoint: str | None = None,
    resamples: int = 1000,
) -> Report:
    """Returns an evaluation of concepts as a report with breakdowns.

    Args:
        concept: The evaluation.
        store: Its store.
        seconds: How long it took.
        predictions: What was scored, where another tool predicted it.
        device: Where it was computed.
        checkpoint: The hash of the model's weights.
        resamples: How often pairs are drawn again for the intervals; 0 for none.
    """
    pairs = sorted(concept.rows, key=lambda one: one.sample)
    rows = rows_of_pairs(pairs)
    protocol = Protocol(name=concept.protocol, source=concept.source, empty=1, threshold_source="masks")
    result = ConceptResult(
        protocol=protocol,
        rows=rows,
        figures={name: concept.figures[name] for name in SHOWN if name in concept.figures},
        intervals=concept.intervals,
        breakdowns=tuple(
            (one, {name: _part(pairs, chosen, concept.protocol, resamples) for name, chosen in one.groups.items()})
            for one in pair_breakdowns(rows, pairs)
        ),
    )
    report = Report.of(
        store,
        [result],
        split=concept.split,
        text_field="raw",
        checkpoint=checkpoint,
        seconds=seconds,
        device=device,
        notes=concept.notes,
        predictions=predictions,
    )
    return replace(report, total_sentences=len(rows), per="pair")


def _part(pairs: Sequence[ConceptRow], chosen: np.ndarray, protocol: str, resamples: int) -> Part:
    own = [pairs[place] for place in np.flatnonzero(chosen).tolist()]
    parts = list(parts_of(own).values())
    found = figures_in_percent(parts, protocol)
    headline = headline_of(protocol)
    intervals = concept_intervals(parts, per_sample=protocol == PBENCH, resamples=min(resamples, _PART_RESAMPLES))
    return Part(
        samples=len(own),
        images=len({one.image_id for one in own}),
        figures={name: found[name] for name in SHOWN if name in found},
        interval=intervals.get(headline),
    )
