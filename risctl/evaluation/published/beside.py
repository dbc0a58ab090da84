"""Lays the figures of an evaluation beside the published ones of the same dataset, split and protocol."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from risctl.data.datasets.registry import DATASETS
from risctl.evaluation.published.rows import PublishedRow, published_rows
from risctl.evaluation.text_table import aligned

if TYPE_CHECKING:
    from risctl.metrics.bootstrap import Interval
    from risctl.recipe.schema import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What is known of the evaluated model.

    Attributes:
        system: The name of its system.
        weights: Its network and the weights that it began with, in words.
        data: What it was trained on, in words.
    """

    system: str
    weights: str
    data: str

    @classmethod
    def of(cls, recipe: Recipe) -> Trained:
        """Returns what a recipe says of the model that was trained with it."""
        visual = getattr(recipe.model, "visual", None)
        network = getattr(visual, "name", "no backbone of its own")
        weights = getattr(visual, "weights", None) or "random weights"
        stores = " and ".join(recipe.data.stores)
        return cls(
            system=recipe.model.system,
            weights=f"{recipe.model.system}, {network}, from {weights}",
            data=f"{stores}, split {recipe.data.train_split}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Our figures under one protocol.

    Attributes:
        protocol: The protocol's name.
        figures: In percent.
        intervals: Their 95% intervals, where there are any.
        departures: How the evaluation departs from the protocol, in words.
    """

    protocol: str
    figures: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    departures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedFigure:
    """One figure, ours and published, in percent.

    Attributes:
        name: Its name.
        ours: Ours; NaN where there was nothing to measure.
        low: The lower end of our 95% interval, None without one.
        high: The upper end.
        published: The published one.
    """

    name: str
    ours: float
    low: float | None
    high: float | None
    published: float

    @property
    def difference(self) -> float:
        """Ours less the published one, in points."""
        return self.ours - self.published


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRow:
    """A published row with our figures beside it.

    Attributes:
        row: The row.
        figures: The figures that both have.
        differs: What differs: "weights", "data" or "protocol", with the published and with our value in words.
    """

    row: PublishedRow
    figures: tuple[ComparedFigure, ...]
    differs: tuple[tuple[str, str, str], ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the row, ready for JSON; null where there was nothing to measure."""
        return {
            **self.row.model_dump(mode="json", exclude={"figures"}),
            "figures": {
                one.name: {
                    "ours": _number(one.ours),
                    "interval": None if one.low is None or one.high is None else [one.low, one.high],
                    "published": one.published,
                    "difference": _number(one.difference),
                }
                for one in self.figures
            },
            "differs": [{"what": what, "published": theirs, "ours": ours} for what, theirs, ours in self.differs],
        }

    def to_text(self) -> str:
        """Returns the row as plain text."""
        table = [("", "ours", "95% interval", "published", "ours - published")]
        for one in self.figures:
            interval = "-" if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
            difference = "-" if math.isnan(one.ours) else f"{one.difference:+.2f}"
            table.append((one.name, _shown(one.ours), interval, f"{one.published:.2f}", difference))
        lines = [f"{self.row.model} by protocol {self.row.protocol} ({self.row.paper})", aligned(table)]
        lines.append(f"  source: {self.row.source}{'' if self.row.checked else ' (not compared with it here)'}")
        lines += [f"  differs in {what}: {theirs}; here {ours}" for what, theirs, ours in self.differs]
        lines += [f"  remark: {self.row.remark}"] if self.row.remark else []
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedComparison:
    """An evaluation beside the published figures.

    Attributes:
        evaluated: The dataset and the split, in words.
        rows: The published rows that match, those of the model's own system first.
        missing: A line for each protocol without a row: which rows there are.
    """

    evaluated: str
    rows: tuple[ComparedRow, ...]
    missing: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Returns the comparison, ready for JSON."""
        return {"rows": [row.to_dict() for row in self.rows], "missing": list(self.missing)}

    def to_text(self) -> str:
        """Returns the comparison as plain text."""
        blocks = [row.to_text() for row in self.rows]
        blocks += ["\n".join(self.missing)] if self.missing else []
        return "\n\n".join([f"beside published: {self.evaluated}", *blocks])


def beside_published(
    measured: Sequence[Measured],
    *,
    dataset: str,
    split_by: str,
    split: str,
    sentences: int | None,
    trained: Trained,
) -> PublishedComparison:
    """Returns our figures beside every published row of the same dataset, split and protocol.

    Args:
        measured: Our figures by protocol.
        dataset: The dataset's name, as its store has it.
        split_by: Whose division into splits; "" where there is none to name.
        split: The split.
        sentences: How many sentences were evaluated; None where sentences are not counted.
        trained: What is known of the model.
    """
    named = f"{dataset} ({split_by})" if split_by else dataset
    there = [row for row in published_rows() if row.dataset == dataset and row.split_by in (None, split_by)]
    compared: list[ComparedRow] = []
    missing: list[str] = []
    for one in measured:
        matching = [row for row in there if (row.split, row.protocol) == (split, one.protocol)]
        found = [
            ComparedRow(
                row=row,
                figures=_figures(row, one),
                differs=_differs(row, one, trained, sample=_sample(dataset, split_by, split, sentences)),
            )
            for row in matching
        ]
        compared += [row for row in found if row.figures]
        if not any(row.figures for row in found):
            missing.append(_missing(named, split, one.protocol, there))
    compared.sort(key=lambda one: one.row.system != trained.system)
    return PublishedComparison(evaluated=f"{named}, split {split}", rows=tuple(compared), missing=tuple(missing))


def _figures(row: PublishedRow, measured: Measured) -> tuple[ComparedFigure, ...]:
    found = []
    for name, published in row.figures.items():
        if name in measured.figures:
            interval = measured.intervals.get(name)
            known = interval is not None and math.isfinite(interval.low) and math.isfinite(interval.high)
            found.append(
                ComparedFigure(
                    name=name,
                    ours=measured.figures[name],
                    low=interval.low if known and interval is not None else None,
                    high=interval.high if known and interval is not None else None,
                    published=published,
                )
            )
    return tuple(found)


def _differs(
    row: PublishedRow, measured: Measured, trained: Trained, *, sample: tuple[str, str] | None
) -> tuple[tuple[str, str, str], ...]:
    found = [("weights", f"{row.model}, from {row.weights}", trained.weights), ("data", row.data, trained.data)]
    found += [("data", *sample)] if sample is not None else []
    found += [("protocol", f"{row.protocol} as published", one) for one in measured.departures]
    return tuple(found)


def _sample(dataset: str, split_by: str, split: str, sentences: int | None) -> tuple[str, str] | None:
    """Returns how many sentences the split is published with and how many were evaluated, where these differ."""
    known = DATASETS.get(dataset)
    published = known.published.get(split_by, {}).get(split, {}).get("sentences") if known is not None else None
    if sentences is None or published is None or published == sentences:
        return None
    return f"{published:,} sentences", f"{sentences:,} of them"


def _missing(named: str, split: str, protocol: str, there: Sequence[PublishedRow]) -> str:
    nothing = f"no published row for {named}, split {split}, by protocol {protocol}"
    protocols = sorted({row.protocol for row in there if row.split == split})
    if protocols:
        return f"{nothing}; by {_joined(protocols)} there are: name it with --protocol"
    splits = sorted({row.split for row in there})
    if splits:
        return f"{nothing}; there are rows for its split {_joined(splits)}"
    datasets = sorted(
        {row.dataset if row.split_by is None else f"{row.dataset} ({row.split_by})" for row in published_rows()}
    )
    return f"{nothing}; there are rows for {', '.join(datasets)}"


def _joined(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _shown(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"
