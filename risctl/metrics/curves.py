"""Computes how the IoUs of samples are distributed: the curve of Pr@X, and the histogram."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from risctl.metrics.figures import has_iou, sample_ious
from risctl.metrics.protocols import Protocol
from risctl.metrics.rows import Rows

BOUNDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
BINS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """How many samples have which IoU.

    Attributes:
        counts: Samples by IoU, (BINS,): equal steps from above 0 to 1, each with its upper edge.
        zero: Samples without any overlap.
        left_out: Samples without a target, which have no IoU.
    """

    counts: tuple[int, ...]
    zero: int
    left_out: int


def precision_curve(rows: Rows, protocol: Protocol) -> list[tuple[float, float]]:
    """Computes the curve of Pr@X for X from .05 to .95, compared as the protocol compares.

    Where the protocol itself reports Pr@X, the curve passes through that figure. It is taken over the samples that Pr@X
    is taken over: those with a target, unless the protocol treats all alike.

    Returns:
        Pairs (X, Pr@X in percent); none without a sample.
    """
    iou = _counted(rows, protocol)
    if not len(iou):
        return []
    own = {round(bound, 2): bound for _, bound in protocol.precisions}
    strict = protocol.compare == ">"
    curve = []
    for nominal in BOUNDS:
        bound = own.get(nominal, nominal)
        reached = iou > bound if strict else iou >= bound
        curve.append((nominal, 100 * float(reached.mean())))
    return curve


def histogram(rows: Rows, protocol: Protocol) -> Histogram:
    """Counts how many samples reach which IoU."""
    iou = _counted(rows, protocol)
    some = iou[iou > 0]
    # Up to and with the upper edge; rounding away what floating point adds to a multiple of a twentieth.
    place = np.clip(np.ceil(np.round(some * BINS, 9)).astype(np.int64) - 1, 0, BINS - 1)
    return Histogram(
        counts=tuple(np.bincount(place, minlength=BINS).tolist()),
        zero=int((iou <= 0).sum()),
        left_out=len(rows) - len(iou),
    )


def _counted(rows: Rows, protocol: Protocol) -> np.ndarray:
    return sample_ious(rows, protocol)[has_iou(rows, protocol)]
