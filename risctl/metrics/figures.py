"""Computes figures from rows, by the arithmetic that a protocol's facts select.

Every figure here is a sum over samples divided by another sum over samples (the average precisions of A2D are the
exception). So the same terms give the figure, its breakdowns and its bootstrap interval.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from risctl.metrics.a2d import average_precision
from risctl.metrics.protocols import Protocol
from risctl.metrics.rows import Rows

Value = TypeVar("Value", float, np.ndarray)

_BOX_RIGHT = 0.5

Terms = dict[str, tuple[np.ndarray, np.ndarray]]
"""By the name of the figure: numerator and denominator, each (N,) float64."""


def ious(intersection: np.ndarray, union: np.ndarray, protocol: Protocol) -> np.ndarray:
    """Computes the IoU of each sample by the protocol's smoothing, precision and rule for empty unions.

    Args:
        intersection: Pixels shared, (N,).
        union: Pixels in either, (N,).
        protocol: The protocol.

    Returns:
        Float64 (N,).
    """
    kind = np.dtype(np.float32 if protocol.single else np.float64)
    # numpy adds a Python float in the array's own precision.
    top = intersection.astype(kind) + protocol.smoothing[0]
    bottom = union.astype(kind) + protocol.smoothing[1]
    quotient = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    return np.where(union > 0, quotient.astype(np.float64), float(protocol.empty))


def terms(rows: Rows, protocol: Protocol) -> Terms:
    """Returns numerator and denominator of each figure of `protocol`, one value per row."""
    if protocol.boundary:
        return _video_terms(rows, protocol)
    if protocol.no_target != "ordinary":
        return _no_target_terms(rows, protocol) | _box_terms(rows)
    every = np.ones(len(rows))
    iou = ious(rows.intersection, rows.union, protocol)
    # What is added to a sum is shared out among its terms.
    more_union, more_samples = (value / max(1, len(rows)) for value in protocol.sum_smoothing)
    of_sums, of_means = protocol.names
    found: Terms = {
        of_sums: (rows.intersection.astype(np.float64), rows.union + more_union),
        of_means: (iou, every + more_samples),
    }
    for name, bound in protocol.precisions:
        found[name] = (_reaches(iou, bound, protocol), every)
    return found | _box_terms(rows)


def sample_ious(rows: Rows, protocol: Protocol) -> np.ndarray:
    """Returns what each sample contributes to the protocol's mean, (N,)."""
    if protocol.no_target in ("ordinary", "frames"):
        return np.where(np.isfinite(rows.region), rows.region, ious(rows.intersection, rows.union, protocol))
    return _grefcoco(rows, protocol)[0]


def has_iou(rows: Rows, protocol: Protocol) -> np.ndarray:
    """Returns which samples have an IoU, (N,) bool: all, or those with a target where the others are kept apart."""
    apart = protocol.no_target in ("counted", "apart")
    return rows.targeted if apart else np.ones(len(rows), dtype=bool)


def figures(rows: Rows, protocol: Protocol) -> dict[str, float]:
    """Returns the figures of `protocol` in percent; NaN where there is nothing to measure."""
    found = {name: 100 * ratio(top.sum(), bottom.sum()) for name, (top, bottom) in terms(rows, protocol).items()}
    found = with_derived(found)
    if protocol.average_precision:
        further = [(int(key), *other) for key, others in zip(rows.key, rows.others, strict=True) for other in others]
        sample, score, *pixels = zip(*further, strict=True) if further else ((),) * 5
        intersection, union, predicted = (np.array(array, dtype=np.int64) for array in pixels)
        precisions = average_precision(
            sample=np.concatenate([rows.key, np.array(sample, dtype=np.int64)]),
            score=np.concatenate([rows.score, np.array(score, dtype=np.float64)]),
            intersection=np.concatenate([rows.intersection, intersection]),
            union=np.concatenate([rows.union, union]),
            predicted=np.concatenate([rows.predicted, predicted]),
        )
        found |= {name: 100 * value for name, value in precisions.items()}
    return found


def with_derived(found: dict[str, Value]) -> dict[str, Value]:
    """Returns the figures `found`, single or resampled, with those that follow from them (J&F)."""
    if "J" not in found:
        return found
    return {"J&F": (found["J"] + found["F"]) / 2} | found


def ratio(top: float, bottom: float) -> float:
    """Returns top / bottom; NaN if bottom is 0."""
    return float(top) / float(bottom) if bottom else float("nan")


def _no_target_terms(rows: Rows, protocol: Protocol) -> Terms:
    """Returns the terms by gRefCOCO's rules (ReLA): gIoU and cIoU over all samples, the rest over targeted ones."""
    iou, intersection, union = _grefcoco(rows, protocol)
    every = np.ones(len(rows))
    targeted = rows.targeted.astype(np.float64)
    over_all: Terms = {"gIoU": (iou, every), "cIoU": (intersection, union), **_presence_terms(rows)}
    precisions: Terms = {
        name: (_reaches(iou, bound, protocol) * targeted, targeted) for name, bound in protocol.precisions
    }
    if protocol.no_target == "counted":
        return over_all | precisions
    over_targeted: Terms = {"oIoU": (intersection * targeted, union * targeted), "mIoU": (iou * targeted, targeted)}
    return over_targeted | precisions | ({} if rows.targeted.all() else over_all)


def _presence_terms(rows: Rows) -> Terms:
    targeted = rows.targeted.astype(np.float64)
    absent = 1 - targeted
    return {
        "T-acc": (targeted * ~rows.predicted_none, targeted),
        "N-acc": (absent * rows.predicted_none, absent),
    }


def _grefcoco(rows: Rows, protocol: Protocol) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return IoU, intersection and union (N,) float64 as they count in gIoU and cIoU.

    A sample without a target scores 1 if it is predicted as such, adding nothing to either sum, and else 0, its
    false pixels adding to the union. A target predicted as none intersects nothing, whatever the mask shows, but the
    mask still adds to the union: ReLA replaces the intersection alone.
    """
    hit = rows.targeted & ~rows.predicted_none
    rejected = ~rows.targeted & rows.predicted_none
    intersection = np.where(hit, rows.intersection, 0).astype(np.float64)
    union = np.where(rejected, 0, rows.union).astype(np.float64)
    iou = np.where(rows.targeted, ious(intersection, union, protocol), rejected.astype(np.float64))
    return iou, intersection, union


def _box_terms(rows: Rows) -> Terms:
    """Returns the terms of "box P@0.5", the share of predicted boxes that are right; none where none were predicted.

    A box is right from a generalised IoU of 0.5 on, as in the published code of MDETR and ReferFormer.
    """
    known = np.isfinite(rows.box_overlap)
    if not known.any():
        return {}
    right = np.where(known, rows.box_overlap, -1.0) >= _BOX_RIGHT
    return {"box P@0.5": (right.astype(np.float64), known.astype(np.float64))}


def _video_terms(rows: Rows, protocol: Protocol) -> Terms:
    every = np.ones(len(rows))
    found: Terms = {"J": (sample_ious(rows, protocol), every), "F": (rows.boundary, every)}
    if protocol.no_target == "frames" and not rows.targeted.all():
        found |= _presence_terms(rows)
    return found


def _reaches(iou: np.ndarray, bound: float, protocol: Protocol) -> np.ndarray:
    return (iou >= bound if protocol.compare == ">=" else iou > bound).astype(np.float64)
