"""Compares evaluations of concepts pair by pair with the first of them, in the form of a comparison of masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from risctl.errors import DataError, UsageError
from risctl.evaluation.concept_page import pair_breakdowns, rows_of_pairs
from risctl.evaluation.concept_report import (
    CONCEPT_PROTOCOLS,
    SHOWN,
    figures_in_percent,
    headline_of,
    parts_of,
)
from risctl.evaluation.concept_rows import PBENCH, ConceptRow
from risctl.json_text import parse_json
from risctl.metrics.bootstrap import LEVEL, Difference
from risctl.metrics.breakdowns import FEW_SAMPLES
from risctl.metrics.concept import ConceptSample
from risctl.metrics.concept_bootstrap import concept_differences, difference_of
from risctl.metrics.rows import Facts

RIGHT = 0.5
"""The IoU of all instances together from which a pair counts as right."""

_PART_RESAMPLES = 200
_MAX_COUNT = 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRun:
    """The rows of an evaluation of concepts: their file, the protocol, the dataset with its fingerprint, the pairs."""

    path: Path
    protocol: str
    data: tuple[str, str]
    pairs: tuple[ConceptRow, ...]


def is_of_pairs(path: Path) -> bool:
    """Returns whether a file holds rows of concepts, by its first line."""
    try:
        with path.open("rb") as file:
            record = parse_json(file.readline(2**20))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and "hits" in record and record.get("protocol") in CONCEPT_PROTOCOLS


def read_pairs(path: Path) -> PairRun:
    """Reads the rows that `risctl score` or `eval` wrote by `cgf1` or `pbench`.

    Raises:
        DataError: A line is no such row, or is of another evaluation than the first; it is named.
    """
    pairs: dict[int, ConceptRow] = {}
    about: tuple[Any, ...] | None = None
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    record = parse_json(line)
                    own = tuple(str(record[name]) for name in ("protocol", "dataset", "fingerprint"))
                    pair = _pair(record)
                except (ValueError, KeyError, TypeError) as error:
                    raise DataError(
                        f"{path}, line {number}: expected a row of pairs as `risctl score --protocol cgf1 --rows` "
                        f"writes it ({error!r:.80})"
                    ) from error
                about = about or own
                if own != about or pair.sample in pairs:
                    raise DataError(f"{path}, line {number} is of another evaluation than the first, or there twice")
                pairs[pair.sample] = pair
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if about is None:
        raise DataError(f"{path} is empty; write rows with `risctl score … --rows FILE`")
    if about[0] not in CONCEPT_PROTOCOLS:
        raise DataError(f"{path}: the protocol {about[0]!r:.40} is none of {', '.join(CONCEPT_PROTOCOLS)}")
    ordered = tuple(pairs[sample] for sample in sorted(pairs))
    return PairRun(path=path, protocol=about[0], data=(about[1], about[2]), pairs=ordered)


def compare_pairs(runs: Sequence[PairRun], *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Compares each further run with the first; returns the comparison as `Comparison.to_dict` has it.

    Differences are paired, and their intervals come from drawn pairs.

    Args:
        runs: Two runs or more.
        resamples: How often pairs are drawn again.
        seed: The seed of these draws.

    Raises:
        UsageError: There are fewer than two runs, or they are of different data, protocols or pairs.
    """
    if len(runs) < 2:
        raise UsageError("name at least two runs to compare")
    base = runs[0]
    for other in runs[1:]:
        for what, own, theirs in (
            ("protocol", base.protocol, other.protocol),
            ("dataset", base.data[0], other.data[0]),
            ("content of the store", base.data[1], other.data[1]),
            ("pairs", *([(one.sample, one.text) for one in run.pairs] for run in (base, other))),
        ):
            if own != theirs:
                shown = f" is {own!r}, that of {other.path} {theirs!r}" if isinstance(own, str) else " are others"
                raise UsageError(f"runs are compared on the same data; the {what} of {base.path}{shown}")
    splits = list(dict.fromkeys(one.split for one in base.pairs))
    return {
        "protocol": base.protocol,
        "describe": CONCEPT_PROTOCOLS[base.protocol],
        "threshold": None,
        "data": {
            "dataset": base.data[0],
            "split_by": "",
            "split": ", ".join(splits),
            "fingerprint": base.data[1],
            "text_field": "raw",
        },
        "samples": len(base.pairs),
        "images": len({one.image_id for one in base.pairs}),
        "resamples": resamples,
        "resampled": "pairs",
        "seed": seed,
        "level": LEVEL,
        "base": {"rows": str(base.path), "checkpoint": None},
        "against": [_against(base, other, resamples=resamples, seed=seed) for other in runs[1:]],
        "warnings": [],
    }


def _against(base: PairRun, other: PairRun, *, resamples: int, seed: int) -> dict[str, Any]:
    every = np.ones(len(base.pairs), dtype=bool)
    groups = [
        (one, name, chosen)
        for one in pair_breakdowns(rows_of_pairs(base.pairs), base.pairs)
        for name, chosen in one.groups.items()
    ]
    headline = headline_of(base.protocol)
    parts = []
    for one, name, chosen in groups:
        own = [base.pairs[place] for place in np.flatnonzero(chosen).tolist()]
        found = _differences(base, other, chosen, resamples=min(resamples, _PART_RESAMPLES), seed=seed)
        if len(own) < 2 or headline not in found or not np.isfinite(found[headline][2].low):
            continue
        parts.append(
            {
                "breakdown": one.name,
                "title": one.title,
                "group": name,
                "samples": len(own),
                "images": len({pair.image_id for pair in own}),
                "few": len(own) < FEW_SAMPLES,
                "figure": headline,
                **_told(*found[headline]),
            }
        )
    flips: dict[str, list[dict[str, Any]]] = {"won": [], "lost": []}
    for before, after in sorted(
        zip(base.pairs, other.pairs, strict=True), key=lambda two: -abs(two[1].iou - two[0].iou)
    ):
        if (before.iou >= RIGHT) != (after.iou >= RIGHT):
            flips["won" if after.iou > before.iou else "lost"].append(
                {
                    "sample": before.sample,
                    "image_id": before.image_id,
                    "ref_id": before.ref_id,
                    "sentence_id": before.sentence_id,
                    "text": before.text,
                    "abilities": list(before.abilities),
                    "targeted": bool(before.found.true),
                    "before": before.iou,
                    "after": after.iou,
                }
            )
    figures = _differences(base, other, every, resamples=resamples, seed=seed)
    return {
        "run": {"rows": str(other.path), "checkpoint": None},
        "figures": {name: _told(*one) for name, one in figures.items()},
        "breakdowns": parts,
        "changed_by_chance": round((1 - LEVEL) * len(parts), 2),
        "flips": flips,
    }


def _differences(
    base: PairRun, other: PairRun, chosen: np.ndarray, *, resamples: int, seed: int
) -> dict[str, tuple[float, float, Difference]]:
    """Returns figures of both runs and their difference, for the chosen pairs."""
    first, second = (
        list(parts_of([run.pairs[place] for place in np.flatnonzero(chosen).tolist()]).values())
        for run in (base, other)
    )
    before, after = (figures_in_percent(parts, base.protocol) for parts in (first, second))
    bounds = concept_differences(first, second, per_sample=base.protocol == PBENCH, resamples=resamples, seed=seed)
    return {
        name: (before[name], after[name], difference_of(before[name], after[name], bounds.get(name)))
        for name in SHOWN
        if name in before
    }


def _told(before: float, after: float, difference: Difference) -> dict[str, Any]:
    has_interval = bool(np.isfinite(difference.low))
    return {
        "before": _number(before),
        "after": _number(after),
        "difference": _number(difference.value),
        "low": _number(difference.low),
        "high": _number(difference.high),
        "significant": difference.significant if has_interval else None,
    }


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _pair(record: dict[str, Any]) -> ConceptRow:
    """Returns a row. Raises `KeyError`, `TypeError` or `ValueError` if it is none."""
    hits = [_count(value) for value in record["hits"]]
    true, predicted = _count(record["true"]), _count(record["predicted"])
    if not 0 < len(hits) <= 100 or max(hits) > min(true, predicted):
        raise ValueError("impossible hits")
    intersection, union = (_count(record[name], most=2**40) for name in ("intersection", "union"))
    if intersection > union:
        raise ValueError("an intersection beyond its union")
    area = record.get("area")
    return ConceptRow(
        sample=_count(record["sample"], most=2**53),
        split=str(record["split"]),
        image_id=int(record["image_id"]),
        ref_id=int(record["ref_id"]),
        sentence_id=int(record["sentence_id"]),
        text=str(record["text"]),
        abilities=tuple(str(one) for one in record.get("abilities", ())),
        found=ConceptSample(true=true, predicted=predicted, hits=np.array(hits, dtype=np.int64)),
        facts=Facts(
            targets=true,
            categories=tuple(str(one) for one in record.get("categories", ())),
            area=float("nan") if area is None else float(area),
            distractors=-1 if record.get("distractors") is None else int(record["distractors"]),
        ),
        intersection=intersection,
        union=union,
        predicted=0,
    )


def _count(value: Any, *, most: int = _MAX_COUNT) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"{value!r:.40} is no count")
    return value
