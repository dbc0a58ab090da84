"""Bootstrap intervals of the figures of concepts, over pairs of picture and phrase.

The figures of several subsets are means over them, and pairs are drawn again within each. Two evaluations of the same
pairs are compared with the same draws, so that what makes a pair hard for both cancels out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from risctl.metrics.bootstrap import LEVEL, Difference, Interval
from risctl.metrics.concept import (
    SMALL,
    SMALL_PBENCH,
    ConceptSample,
    f1_of,
    mcc_of,
)

FIGURES = ("cgF1", "positive_micro_F1", "IL_MCC")
"""The figures of cgF1 that have intervals."""

_CHUNK = 4_000_000
"""Draws in memory at once."""

Parts = Sequence[Sequence[ConceptSample]]
"""The samples of each subset."""


def concept_draws(
    parts: Parts, *, per_sample: bool = False, resamples: int = 1000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Returns figures of drawn pairs, in percent, float64 (resamples,) each.

    Args:
        parts: The samples of each subset; figures are means over subsets.
        per_sample: Whether the figure is PBench's `f1`, a mean over samples with a target, and not those of cgF1.
        resamples: How often pairs are drawn.
        seed: Decides the draws.
    """
    drawn: dict[str, list[np.ndarray]] = {}
    for samples in parts:
        for name, values in (_f1_draws if per_sample else _cgf1_draws)(samples, resamples, seed).items():
            drawn.setdefault(name, []).append(values)
    return {name: 100 * np.mean(values, axis=0) for name, values in drawn.items()}


def concept_intervals(
    parts: Parts, *, per_sample: bool = False, resamples: int = 1000, seed: int = 0
) -> dict[str, Interval]:
    """Returns the 95% intervals of the figures, in percent; see `concept_draws`."""
    if not resamples or not any(len(samples) > 1 for samples in parts):
        return {}
    found = concept_draws(parts, per_sample=per_sample, resamples=resamples, seed=seed)
    return {name: Interval(low=low, high=high) for name, (low, high) in _bounds(found).items()}


def concept_differences(
    first: Parts, second: Parts, *, per_sample: bool = False, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """Returns the 95% intervals of how much better the figures of `second` are, in percentage points."""
    before, after = (
        concept_draws(one, per_sample=per_sample, resamples=resamples, seed=seed) for one in (first, second)
    )
    return _bounds({name: after[name] - values for name, values in before.items()})


def difference_of(before: float, after: float, bounds: tuple[float, float] | None) -> Difference:
    """Returns a difference with its interval, NaN where there is none."""
    low, high = bounds or (float("nan"), float("nan"))
    return Difference(value=after - before, low=low, high=high)


def _bounds(drawn: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    found = {}
    for name, values in drawn.items():
        known = values[np.isfinite(values)]
        tail = (1 - LEVEL) / 2
        low, high = np.quantile(known, (tail, 1 - tail)) if len(known) else (float("nan"), float("nan"))
        found[name] = (float(low), float(high))
    return found


def _drawn_sums(summed: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Returns the sums of the drawn rows of `summed`, float64 (N, K), as (resamples, K)."""
    generator, count = np.random.default_rng(seed), len(summed)
    step = max(1, _CHUNK // count)
    parts = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        drawn = generator.integers(count, size=(size, count)) + count * np.arange(size)[:, None]
        parts.append(np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count) @ summed)
    return np.concatenate(parts)


def _cgf1_draws(samples: Sequence[ConceptSample], resamples: int, seed: int) -> dict[str, np.ndarray]:
    hits = np.stack([one.hits for one in samples]).astype(np.float64)
    true, predicted = (np.array([getattr(one, name) for one in samples], dtype=float) for name in ("true", "predicted"))
    positive_false = np.where(true[:, None] > 0, predicted[:, None] - hits, 0.0)
    present = np.stack([(true > 0) & (predicted > 0), (true == 0) & (predicted == 0), (true == 0) & (predicted > 0)], 1)
    sums = _drawn_sums(np.concatenate([hits, positive_false, true[:, None] - hits, present], axis=1), resamples, seed)
    steps = hits.shape[1]
    hit, false, miss = (sums[:, place * steps : (place + 1) * steps] for place in range(3))
    f1 = f1_of(hit, false, miss, SMALL)[2]
    right, absent, alarm = sums[:, 3 * steps :].T
    mcc = mcc_of(right, absent, alarm, len(samples) - right - absent - alarm)
    return {"cgF1": (f1 * mcc[:, None]).mean(1), "positive_micro_F1": f1.mean(1), "IL_MCC": mcc}


def _f1_draws(samples: Sequence[ConceptSample], resamples: int, seed: int) -> dict[str, np.ndarray]:
    values = np.array([pair_f1(one) if one.true else 0.0 for one in samples])
    sums = _drawn_sums(np.stack([values, [float(one.true > 0) for one in samples]], 1), resamples, seed)
    return {"f1": np.divide(sums[:, 0], sums[:, 1], out=np.full(len(sums), np.nan), where=sums[:, 1] > 0)}


def pair_f1(sample: ConceptSample) -> float:
    """Returns the mean F1 of a sample with a target over its thresholds, 0 where nothing is predicted."""
    return float(sample.f1(small=SMALL_PBENCH).mean()) if sample.predicted else 0.0
