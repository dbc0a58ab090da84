"""Reports an evaluation: figures with confidence intervals, and all that must be known to compare them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from risctl.evaluation.published.beside import Measured, PublishedComparison, Trained, beside_published
from risctl.evaluation.text_table import aligned
from risctl.language.tokens import words_of
from risctl.metrics.bootstrap import Interval, intervals
from risctl.metrics.breakdowns import FEW_SAMPLES, Breakdown, Part, breakdowns, headline, measured
from risctl.metrics.curves import histogram, precision_curve
from risctl.metrics.figures import figures, sample_ious
from risctl.metrics.protocols import Protocol
from risctl.metrics.rows import Rows
from risctl.output_files import OutputFiles

if TYPE_CHECKING:
    from risctl.data.store.reader import Store

REFCOCO_FAMILY = ("refcoco", "refcoco+", "refcocog", "grefcoco", "rrefcoco", "ref-zom")
"""Sets whose val and test images are in COCO train2014."""

FEW_IMAGES = 100

_BREAKDOWN = ("oIoU", "mIoU", "Pr@0.5", "gIoU", "N-acc", "J&F", "J", "F")
"""Figures that a breakdown's table has room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result under one protocol.

    Attributes:
        protocol: The protocol.
        rows: The samples.
        figures: In percent; NaN where there was nothing to measure.
        intervals: 95% intervals over images; average precisions have none.
        breakdowns: Groups of samples, with the figures of each.
    """

    protocol: Protocol
    rows: Rows
    figures: dict[str, float]
    intervals: dict[str, Interval]
    breakdowns: tuple[tuple[Breakdown, dict[str, Part]], ...]

    @classmethod
    def of(cls, rows: Rows, protocol: Protocol, *, resamples: int = 1000, further: Sequence[Breakdown] = ()) -> Result:
        """Computes the result of `rows`.

        Args:
            rows: The samples.
            protocol: The protocol.
            resamples: How often images are drawn again for the intervals; 0 for none.
            further: Breakdowns beside the usual ones.
        """
        parts = (*breakdowns(rows), *further)
        return cls(
            protocol=protocol,
            rows=rows,
            figures=figures(rows, protocol),
            intervals=intervals(rows, protocol, resamples=resamples),
            breakdowns=tuple((part, measured(part, rows, protocol, resamples=resamples)) for part in parts),
        )

    @property
    def abilities(self) -> dict[str, Part]:
        """The samples by the ability that their expression needs."""
        return next((parts for one, parts in self.breakdowns if one.name == "ability"), {})

    def to_dict(self) -> dict[str, Any]:
        """Returns the result, ready for JSON; null where there was nothing to measure."""
        spread = histogram(self.rows, self.protocol)
        return {
            "protocol": self.protocol.describe(),
            "resolution": self.protocol.where(),
            "threshold": self.protocol.threshold,
            "threshold_rule": self.protocol.threshold_rule,
            "threshold_source": self.protocol.threshold_source,
            "empty": self.protocol.empty,
            "no_target": self.protocol.no_target,
            "precision_comparison": self.protocol.compare if self.protocol.precisions else None,
            "sentences": self.protocol.sentences,
            "samples": len(self.rows),
            "targeted": int(self.rows.targeted.sum()),
            "figures": {name: _number(value) for name, value in self.figures.items()},
            "intervals": {name: [_number(one.low), _number(one.high)] for name, one in self.intervals.items()},
            "headline": headline(self.protocol),
            "precision_curve": [[bound, value] for bound, value in precision_curve(self.rows, self.protocol)],
            "iou_histogram": {"counts": list(spread.counts), "zero": spread.zero, "left_out": spread.left_out},
            "breakdowns": [_breakdown(one, parts) for one, parts in self.breakdowns],
        }

    def to_text(self) -> str:
        """Returns the result as plain text tables under the protocol's line."""
        table = [("", "%", "95% interval over images")]
        for name, value in self.figures.items():
            table.append((name, _shown(value), _shown_interval(self.intervals.get(name))))
        targeted = int(self.rows.targeted.sum())
        apart = "" if targeted == len(self.rows) else f", {targeted} of them with a target"
        text = f"{self.protocol.describe()}\n{len(self.rows)} samples{apart}\n{aligned(table)}"
        if not self.abilities:
            return text
        title = next(one.title for one, _ in self.breakdowns if one.name == "ability")
        shown = [name for name in _BREAKDOWN if name in self.figures]
        breakdown = [(f"by {title.lower()}", "n", *shown)]
        for ability, part in self.abilities.items():
            count = f"{part.samples}{'*' if part.samples < FEW_SAMPLES else ''}"
            breakdown.append((ability, count, *(_shown(part.figures.get(name, math.nan)) for name in shown)))
        few = any(part.samples < FEW_SAMPLES for part in self.abilities.values())
        note = f"\n* fewer than {FEW_SAMPLES} samples: read with care" if few else ""
        return f"{text}\n\n{aligned(breakdown)}{note}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An evaluation.

    Attributes:
        dataset: Name of the dataset.
        split_by: The publisher's division into splits.
        fingerprint: Identifies the store's contents.
        split: The split.
        images: How many images, or videos, the samples are of.
        refs: How many referred objects.
        sentences: How many sentences were evaluated.
        total_sentences: How many the split has.
        text_field: Which form of the sentences was read.
        checkpoint: The hash of the weights' file; None if there is none.
        results: The result under each protocol, by name.
        seconds: Duration of the whole pass.
        device: The device.
        processes: How many processes shared the work.
        notes: Warnings that arose on the way.
        predictions: What was scored, where another tool predicted it; empty for a model.
        videos: Names of the videos by image id, where samples are of videos.
        published: The figures beside the published ones, where they were asked for.
        per: What samples are of, unless it is videos.
    """

    dataset: str
    split_by: str
    fingerprint: str
    split: str
    images: int
    refs: int
    sentences: int
    total_sentences: int
    text_field: str
    checkpoint: str | None
    results: dict[str, Result]
    seconds: float
    device: str
    processes: int = 1
    notes: tuple[str, ...] = field(default=())
    predictions: str = ""
    videos: Mapping[int, str] = field(default_factory=dict)
    published: PublishedComparison | None = None
    per: str = "image"

    @classmethod
    def of(
        cls,
        store: Store,
        results: Sequence[Result],
        *,
        split: str,
        text_field: str,
        checkpoint: str | None,
        seconds: float,
        device: object,
        processes: int = 1,
        notes: Sequence[str] = (),
        predictions: str = "",
    ) -> Report:
        """Returns the report of `results` on a split of `store`; it counts the samples of the longest result.

        `split`, `text_field`, `checkpoint`, `seconds`, `device`, `processes`, `notes` and `predictions` become its
        attributes of these names.
        """
        rows = max((result.rows for result in results), key=len)
        return cls(
            dataset=store.name,
            split_by=store.split_by,
            fingerprint=store.fingerprint,
            split=split,
            images=len(np.unique(rows.image_id)),
            refs=len(np.unique(rows.ref_id)),
            sentences=len(rows),
            total_sentences=len(store.sentences(split)),
            text_field=text_field,
            checkpoint=checkpoint,
            results={result.protocol.name: result for result in results},
            seconds=seconds,
            device=str(device),
            processes=processes,
            notes=tuple(notes),
            predictions=predictions,
        )

    def beside_published(self, trained: Trained, *, departures: tuple[str, ...] = ()) -> Report:
        """Returns the report with its figures beside the published ones of the same dataset, split and protocol.

        Args:
            trained: What is known of the evaluated model.
            departures: How the evaluation departs from what was published, beside a threshold of its own.
        """
        measured = [
            Measured(
                protocol=name,
                figures=result.figures,
                intervals=result.intervals,
                departures=(*_given_threshold(result.protocol), *departures),
            )
            for name, result in self.results.items()
        ]
        published = beside_published(
            measured,
            dataset=self.dataset,
            split_by=self.split_by,
            split=self.split,
            sentences=self.sentences,
            trained=trained,
        )
        return replace(self, published=published)

    @property
    def unit(self) -> str:
        """What samples are of: "image", "video" or "pair" (of image and phrase)."""
        return "video" if self.videos else self.per

    @property
    def figures(self) -> dict[str, float]:
        """The figures of the first protocol, in percent."""
        return next(iter(self.results.values())).figures

    @property
    def warnings(self) -> list[str]:
        """What a reader of the figures must know."""
        found = list(self.notes)
        if self.sentences < self.total_sentences and not self._first_sentences_only():
            found.append(f"limited: {self.sentences} of the {self.total_sentences} sentences of the split")
        if self.dataset in REFCOCO_FAMILY and self.split != "train":
            found.append(
                "contamination: RefCOCO-family val and test images are in COCO train2014; a backbone trained on "
                "COCO instances has seen them"
            )
        if self.dataset == "refcocog" and self.split_by == "google":
            found.append("contamination: the google split of RefCOCOg shares images between train and val")
        if self.images < FEW_IMAGES:
            found.append(
                f"small sample: {self.images} {self.unit}{'s' if self.images != 1 else ''}; the intervals are wide and "
                f"themselves uncertain below {FEW_IMAGES}"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Returns the report, ready for JSON; `figures` and `intervals` at the top are the first protocol's."""
        first = next(iter(self.results.values())).to_dict()
        return {
            "dataset": {"name": self.dataset, "split_by": self.split_by, "fingerprint": self.fingerprint},
            "split": self.split,
            "unit": self.unit,
            "images": self.images,
            "refs": self.refs,
            "sentences": self.sentences,
            "total_sentences": self.total_sentences,
            "text_field": self.text_field,
            "checkpoint": self.checkpoint,
            "predictions": self.predictions or None,
            "protocol": next(iter(self.results)),
            "figures": first["figures"],
            "intervals": first["intervals"],
            "protocols": {name: result.to_dict() for name, result in self.results.items()},
            "warnings": self.warnings,
            "seconds": round(self.seconds, 3),
            "device": self.device,
            "processes": self.processes,
            **({} if self.published is None else {"published": self.published.to_dict()}),
        }

    def to_text(self) -> str:
        """Returns the report as plain text."""
        speed = f"{self.sentences / self.seconds:.1f} sentences/s" if self.seconds else "no time"
        name = f"{self.dataset} ({self.split_by})" if self.split_by else self.dataset
        head = [
            f"{name}, split {self.split}: {self.images} images, {self.refs} refs, {self.sentences} sentences",
            f"texts: {self.text_field}; data {_short(self.fingerprint)}; "
            + (f"predictions {self.predictions}" if self.predictions else f"checkpoint {_short(self.checkpoint)}"),
            f"{self.seconds:.1f} s on {self.device} ({speed})",
        ]
        blocks = ["\n".join(head), *(result.to_text() for result in self.results.values())]
        blocks += [self.published.to_text()] if self.published is not None else []
        blocks += ["\n".join(f"warning: {line}" for line in self.warnings)] if self.warnings else []
        return "\n\n".join(blocks)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields one row per protocol and sample, ready for JSON, samples in the order of the store."""
        for name, result in self.results.items():
            rows = result.rows
            ious = sample_ious(rows, result.protocol)
            for position in range(len(rows)):
                row = {
                    "sample": int(rows.key[position]),
                    **rows.ids(position),
                    "protocol": name,
                    "iou": float(ious[position]),
                    "intersection": int(rows.intersection[position]),
                    "union": int(rows.union[position]),
                    "predicted": int(rows.predicted[position]),
                    "targeted": bool(rows.targeted[position]),
                    "predicted_none": bool(rows.predicted_none[position]),
                    "score": _number(float(rows.score[position])),
                    **rows.facts(position),
                    "words": len(words_of(rows.text[position])),
                    "threshold": result.protocol.threshold,
                    "threshold_source": result.protocol.threshold_source,
                    **self._origin(),
                }
                if result.protocol.boundary:
                    row["boundary"] = _number(float(rows.boundary[position]))
                if np.isfinite(rows.box_overlap[position]):
                    row["box_overlap"] = float(rows.box_overlap[position])
                if rows.others[position]:
                    row["others"] = [list(other) for other in rows.others[position]]
                yield row

    def _origin(self) -> dict[str, Any]:
        """Returns what two files of rows must share to be compared, and the checkpoint.

        Hashes are cut to their first 12 letters.
        """
        return {
            "dataset": self.dataset,
            "split_by": self.split_by,
            "split": self.split,
            "fingerprint": self.fingerprint[:12],
            "text_field": self.text_field,
            "checkpoint": self.checkpoint[:12] if self.checkpoint else None,
        }

    def write_rows(self, path: Path, *, overwrite: bool = False, outputs: OutputFiles | None = None) -> None:
        """Writes `rows` as JSON Lines, whole or not at all.

        Args:
            path: The file.
            overwrite: Whether a file of this name is replaced.
            outputs: The guard of the command's output files, in place of `overwrite`.

        Raises:
            UsageError: The file exists.
            DataError: The file cannot be written.
            MachineError: The disk is full.
        """
        guard = outputs or OutputFiles(overwrite=overwrite, option="overwrite=True")
        guard.write_json_lines(path, self.rows())

    def _first_sentences_only(self) -> bool:
        return all(result.protocol.sentences == "first" for result in self.results.values())


def _given_threshold(protocol: Protocol) -> tuple[str, ...]:
    return (protocol.threshold_text(),) if protocol.threshold_source == "option" else ()


def _breakdown(breakdown: Breakdown, parts: dict[str, Part]) -> dict[str, Any]:
    groups = []
    for name, part in parts.items():
        group: dict[str, Any] = {"name": name, "samples": part.samples, "images": part.images, "few": part.few}
        group["figures"] = {figure: _number(value) for figure, value in part.figures.items()}
        group["interval"] = part.interval and [_number(part.interval.low), _number(part.interval.high)]
        groups.append(group)
    return {"name": breakdown.name, "title": breakdown.title, "about": breakdown.about, "groups": groups}


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _shown(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "-"


def _shown_interval(interval: Interval | None) -> str:
    if interval is None or not np.isfinite(interval.low):
        return "-"
    return f"{interval.low:.2f} to {interval.high:.2f}"


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"
