"""Computes the figures of MeViS, Long-RVOS and Ref-SAV: each expression of a video, with several targets or none.

Sources: MeViS's `eval_mevis.py`, Long-RVOS's `eval_long_rvos`, and Sa2VA's evaluation of Ref-SAV. All values are
fractions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from risctl.metrics.video import boundary_measure, region_measure

OVERALL = "overall"
HYBRID = "hybrid"
LONG, SHORT = "long", "short"
"""Ref-SAV's two types of expressions."""

_KINDS = ("static", "dynamic")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionMeasures:
    """The measures of one expression over the frames of its video.

    Attributes:
        j: The mean J over all frames; a frame where both masks are empty counts 1.
        f: The mean F likewise.
        temporal: tIoU: frames where both masks show something, of those where either does; 1 if none does.
        spatiotemporal: vIoU: the sum of J over the frames where both do, of those where either does; 1 if none does.
        accuracy: The mean share of pixels that are alike.
        predicted_none: Whether the prediction shows nothing in any frame.
    """

    j: float
    f: float
    temporal: float
    spatiotemporal: float
    accuracy: float = 0.0
    predicted_none: bool = True


NO_PREDICTION = ExpressionMeasures(j=0.0, f=0.0, temporal=0.0, spatiotemporal=0.0)
"""What counts for an expression of a video without any prediction, also where it has no target."""


class ExpressionMeter:
    """Measures an expression frame by frame, so that the masks of one frame are in memory at a time."""

    def __init__(self) -> None:
        self._frames: list[tuple[float, float, float, bool, bool]] = []
        self.intersection = self.union = self.predicted = 0

    def add(self, prediction: np.ndarray, target: np.ndarray, *, void: np.ndarray | None = None) -> None:
        """Adds a frame.

        Args:
            prediction: Bool mask (H, W).
            target: The union of the expression's objects, bool (H, W), all False where none is.
            void: Pixels that count in neither mask, bool (H, W).
        """
        if void is not None:
            prediction, target = prediction & ~void, target & ~void
        counted = prediction.size - (0 if void is None else int(np.count_nonzero(void)))
        shared, either, shown = (
            int(np.count_nonzero(one)) for one in (prediction & target, prediction | target, prediction)
        )
        self.intersection += shared
        self.union += either
        self.predicted += shown
        alike = 1 - (either - shared) / counted if counted else 1.0
        j, f = region_measure(prediction, target), boundary_measure(prediction, target)
        self._frames.append((j, f, alike, bool(shown), bool(target.any())))

    def measures(self) -> ExpressionMeasures:
        """Returns the measures over all frames. Raises `ValueError` if there was none."""
        if not self._frames:
            raise ValueError("an expression without a frame has no measures")
        j, f, alike = np.array([frame[:3] for frame in self._frames]).T
        shown, true = np.array([frame[3:] for frame in self._frames]).T
        either, both = int((shown | true).sum()), shown & true
        return ExpressionMeasures(
            j=float(j.mean()),
            f=float(f.mean()),
            temporal=float(both.sum()) / either if either else 1.0,
            spatiotemporal=float(j[both].sum()) / either if either else 1.0,
            accuracy=float(alike.mean()),
            predicted_none=not shown.any(),
        )


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
    meter = ExpressionMeter()
    for prediction, target in zip(predictions, targets, strict=True):
        meter.add(prediction, target)
    return meter.measures()


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
        groups.setdefault(HYBRID if kind == "static+dynamic" else kind, []).append(one)
        groups.setdefault(OVERALL, []).append(one)
    return {
        kind: mevis_figures(group)
        | {
            "tIoU": float(np.mean([one.temporal for one in group])),
            "vIoU": float(np.mean([one.spatiotemporal for one in group])),
        }
        for kind, group in groups.items()
    }


def ref_sav_figures(measures: Sequence[ExpressionMeasures], kinds: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """Returns J, F, J&F and A of the long and the short expressions, and under `overall` the mean of both types.

    Args:
        measures: Those of all expressions.
        kinds: `LONG` or `SHORT`, in the same order.
    """
    found: dict[str, dict[str, float]] = {}
    for kind in (LONG, SHORT):
        group = [one for one, own in zip(measures, kinds, strict=True) if own == kind]
        if group:
            found[kind] = mevis_figures(group) | {"A": float(np.mean([one.accuracy for one in group]))}
    names = next(iter(found.values()), {})
    return found | {OVERALL: {name: float(np.mean([own[name] for own in found.values()])) for name in names}}


def protocol_figures(
    name: str, measures: Sequence[ExpressionMeasures], tags: Sequence[Sequence[str]]
) -> dict[str, float]:
    """Returns what a protocol reports beside J, F and J&F over all expressions, as fractions.

    Args:
        name: The protocol.
        measures: Those of all expressions.
        tags: The tags of each, its kind among them; expressions without one are in no group.
    """
    known = {"long_rvos": (*_KINDS, "static+dynamic"), "ref_sav": (LONG, SHORT)}.get(name)
    if known is None:
        return {}
    kinds = [next((tag for tag in own if tag in known), "") for own in tags]
    if name == "long_rvos":
        groups = long_rvos_figures(measures, kinds)
        found = {figure: groups[OVERALL][figure] for figure in ("tIoU", "vIoU")}
        shown = [(kind, kind) for kind in (*_KINDS, HYBRID)]
    else:
        groups = ref_sav_figures(measures, kinds)
        found = {"A": float(np.mean([one.accuracy for one in measures]))}
        shown = [(OVERALL, "mean of long and short"), (LONG, LONG), (SHORT, SHORT)]
    for kind, title in shown:
        found |= {f"{figure} ({title})": value for figure, value in groups.get(kind, {}).items()}
    return found
