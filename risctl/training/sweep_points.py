"""Tells what the combinations of a sweep came to, over their seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from risctl.training.run_record import read_result
from risctl.training.sweep import Sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """A combination of values over its seeds.

    Attributes:
        values: The values of the swept keys.
        figure: The figure by which the recipe keeps its best checkpoint; "" as long as no trial has ended with one.
        seeds: What each seed's trial came to: `seed`, `run`, `ended`, and `value` and `step` of its best evaluation.
        mean: The mean of the values, in percent; None without one.
        low: The lower bound of the mean's 95% interval over seeds (Student's t); None with fewer than two values.
        high: The upper bound.
        state: `PRUNED` or `FAILED` for a trial of a search that came to no value.
    """

    values: Mapping[str, str]
    figure: str
    seeds: tuple[Mapping[str, Any], ...]
    mean: float | None
    low: float | None
    high: float | None
    state: str = ""

    def to_json(self) -> dict[str, Any]:
        """Returns the point as JSON values."""
        return asdict(self)


def sweep_points(sweep: Sweep) -> list[SweepPoint]:
    """Returns what each combination came to so far, in the order of the grid, or in which a search asked for them.

    Raises:
        DataError: A trial's result.json cannot be read.
    """
    trials = sweep.trials()
    results = {trial.number: read_result(trial.run) for trial in trials}
    points = []
    for place, values in enumerate(sweep.points):
        figure, seeds, known = "", [], []
        # Two trials of a search may have the same values.
        for trial in [trials[place]] if sweep.search else trials:
            if trial.values != values:
                continue
            result = results[trial.number]
            best = (result or {}).get("best")
            seeds.append(
                {
                    "seed": trial.seed,
                    "run": str(trial.run),
                    "ended": result is not None,
                    "value": None if best is None else best["value"],
                    "step": None if best is None else best["step"],
                }
            )
            if best is not None:
                figure = best["figure"]
                known.append(float(best["value"]))
        mean = math.fsum(known) / len(known) if known else None
        low, high = _interval(known)
        state = sweep.asked[place].state if sweep.search else ""
        points.append(
            SweepPoint(values=values, figure=figure, seeds=tuple(seeds), mean=mean, low=low, high=high, state=state)
        )
    return points


def best_point(points: Sequence[SweepPoint]) -> SweepPoint | None:
    """Returns the point with the best mean; None as long as no trial has ended with an evaluation."""
    measured = [point for point in points if point.mean is not None]
    return max(measured, key=lambda point: point.mean or 0.0, default=None)


def _interval(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Returns the 95% interval of the mean of independent values, by Student's t with n - 1 degrees of freedom."""
    if len(values) < 2:
        return None, None
    from scipy.stats import t

    mean = math.fsum(values) / len(values)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    half = float(t.ppf(0.975, len(values) - 1)) * deviation / math.sqrt(len(values))
    return mean - half, mean + half
