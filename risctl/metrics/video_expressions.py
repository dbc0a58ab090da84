"""Computes the figures of MeViS and Long-RVOS: each expression of a video, with several targets or none.

Sources: MeViS's `eval_mevis.py` and Long-RVOS's `eval_long_rvos`. All values are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from risctl.metrics.video import boundary_measure, region_measure

OVERALL = "overall"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionMeasures:
    """The measures of one expression over the frames of its video.

    Attributes:
        j: The mean J over all frames; a frame where both masks are empty counts 1.
        f: The mean F likewise.
        temporal: tIoU: frames where both masks show something, of those where either does; 1 if none does.
        spatiotemporal: vIoU: the sum of J over the frames where both do, of those where either does; 1 if none does.
    """

    j: float
    f: float
    temporal: float
    spatiotemporal: float


NO_PREDICTION = ExpressionMeasures(j=0.0, f=0.0, temporal=0.0, spatiotemporal=0.0)
"""What counts for an expression of a video without any prediction, also where it has no target."""


def measure_expression(predictions: np.ndarray, targets: np.ndarray) -> ExpressionMeasures:
    """Measures an expression.

    Args:
        predictions: Bool masks (T, H, W).
        targets: The union of the expression's objects, bool (T, H, W), all False in frames without them.

    Raises:
        ValueError: The shapes differ, or there is no frame.
    """
    if predictions.shape != targets.shape or not len(targets):
        raise ValueError(f"predictions {predictions.shape} and targets {targets.shape} differ, or have no frame")
    pairs = list(zip(predictions, targets, strict=True))
    j = np.array([region_measure(one, other) for one, other in pairs])
    f = np.array([boundary_measure(one, other) for one, other in pairs])
    shown, true = predictions.any((1, 2)), targets.any((1, 2))
    either, both = int((shown | true).sum()), shown & true
    return ExpressionMeasures(
        j=float(j.mean()),
        f=float(f.mean()),
        temporal=float(both.sum()) / either if either else 1.0,
        spatiotemporal=float(j[both].sum()) / either if either else 1.0,
    )


def mevis_figures(measures: Sequence[ExpressionMeasures]) -> dict[str, float]:
    """Returns J, F and J&F, means over expressions."""
    j, f = (float(np.mean([getattr(one, name) for one in measures])) for name in ("j", "f"))
    return {"J": j, "F": f, "J&F": (j + f) / 2}


def long_rvos_figures(
    measures: Sequence[ExpressionMeasures], kinds: Sequence[str]
) -> Mapping[str, Mapping[str, float]]:
    """Returns J, F, J&F, tIoU and vIoU by the kind of expression, and `overall`.

    Args:
        measures: Those of all expressions.
        kinds: Their kinds, in the same order: static, dynamic, or both ("static+dynamic", reported as "hybrid").
    """
    groups: dict[str, list[ExpressionMeasures]] = {}
    for one, kind in zip(measures, kinds, strict=True):
        groups.setdefault("hybrid" if kind == "static+dynamic" else kind, []).append(one)
        groups.setdefault(OVERALL, []).append(one)
    return {
        kind: mevis_figures(group)
        | {
            "tIoU": float(np.mean([one.temporal for one in group])),
            "vIoU": float(np.mean([one.spatiotemporal for one in group])),
        }
        for kind, group in groups.items()
    }
