"""Confidence intervals by the percentile bootstrap, resampling images.

Sentences of one image succeed and fail together, so what is drawn again is the image with all its samples. Every figure
is a ratio of two sums, so a resample is a weighted sum of what each image adds to them: no sample is visited twice.
Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 13 and 16.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from risctl.errors import UsageError
from risctl.metrics.figures import Terms, figures, ratio, terms, with_derived
from risctl.metrics.protocols import Protocol
from risctl.metrics.rows import Rows

_CHUNK = 2_000_000
"""How many draws are held in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval, in percent; NaN where there is nothing to resample (less than two images)."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """By how many percent points the second run is better than the first, and the interval of that."""

    value: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def intervals(
    rows: Rows,
    protocol: Protocol,
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Return the interval of each figure of `protocol` that is a ratio of sums (all but the average precisions).

    groups (N,): what is drawn together, by default the image of each row. Resamples in which a figure cannot be
    measured are left out of its interval.
    """
    if not resamples:
        return {}
    membership, count = _membership(rows, groups)
    drawn = _resampled(terms(rows, protocol), membership, count, seed=seed, resamples=resamples)
    return {name: Interval(low=low, high=high) for name, (low, high) in _percentiles(drawn, count, level).items()}


def interval(
    rows: Rows,
    figure: str,
    protocol: Protocol,
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> Interval:
    """Return the interval of one figure; see `intervals`. Raises `KeyError` if it is no ratio of sums."""
    return intervals(rows, protocol, groups=groups, seed=seed, resamples=resamples, level=level)[figure]


def subset_intervals(
    rows: Rows,
    protocol: Protocol,
    subsets: Sequence[np.ndarray],
    *,
    figure: str,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> list[Interval | None]:
    """Return the interval of one figure for each of `subsets` (N,) bool of the rows, all from the same draws of images.

    Resamples without a sample of the subset are left out; an interval is NaN where less than two images have one. Of
    0 resamples there is none. J&F is the mean of J and F.
    """
    if not resamples or not subsets:
        return [None] * len(subsets)
    every = terms(rows, protocol)
    names = ("J", "F") if figure == "J&F" else (figure,)
    membership, count = _membership(rows, None)
    summed = {
        f"{place} {name}": (every[name][0] * chosen, every[name][1] * chosen)
        for place, chosen in enumerate(subsets)
        for name in names
    }
    drawn = _resampled(summed, membership, count, seed=seed, resamples=resamples)
    found: list[Interval | None] = []
    for place, chosen in enumerate(subsets):
        values = np.mean([drawn[f"{place} {name}"] for name in names], axis=0)
        there = len(np.unique(membership[chosen]))
        [(low, high)] = _percentiles({figure: values}, there, level).values()
        found.append(Interval(low=low, high=high))
    return found


def share_interval(
    right: np.ndarray, groups: np.ndarray, *, seed: int = 0, resamples: int = 1000, level: float = 0.95
) -> Interval:
    """Return the interval of the share of `right` (N,) bool, where those of one of `groups` (N,) are drawn together."""
    _, membership = np.unique(groups, return_inverse=True)
    count = int(membership.max(initial=-1)) + 1
    summed: Terms = {"share": (right.astype(np.float64), np.ones(len(right)))}
    drawn = _resampled(summed, membership, count, seed=seed, resamples=resamples)
    low, high = _percentiles(drawn, count, level)["share"]
    return Interval(low=low, high=high)


def paired_differences(
    first: Rows,
    second: Rows,
    protocol: Protocol,
    *,
    groups: np.ndarray | None = None,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Return, for each figure, how much better `second` is than `first` on the same samples.

    Each resample draws the same images for both, so what makes an image hard for both cancels out. Raises `UsageError`
    unless both hold the same samples.
    """
    check_paired(first, second)
    membership, count = _membership(first, groups)
    theirs = _resampled(terms(first, protocol), membership, count, seed=seed, resamples=resamples)
    ours = _resampled(terms(second, protocol), membership, count, seed=seed, resamples=resamples)
    before, after = figures(first, protocol), figures(second, protocol)
    drawn = {name: ours[name] - theirs[name] for name in ours if name in theirs}
    return {
        name: Difference(value=after[name] - before[name], low=low, high=high)
        for name, (low, high) in _percentiles(drawn, count, level).items()
    }


def paired_subset_differences(
    first: Rows,
    second: Rows,
    protocol: Protocol,
    subsets: Sequence[np.ndarray],
    *,
    figure: str,
    seed: int = 0,
    resamples: int = 1000,
    level: float = 0.95,
) -> list[Difference]:
    """Return how much better `second` is than `first` in one figure for each of `subsets` (N,) bool of the samples.

    All come from the same draws of images, like `subset_intervals`; NaN where the figure cannot be measured, or less
    than two images have a sample of the subset. J&F is the mean of J and F. Raises `UsageError` unless both hold the
    same samples.
    """
    check_paired(first, second)
    names = ("J", "F") if figure == "J&F" else (figure,)
    membership, count = _membership(first, None)
    sides = (terms(first, protocol), terms(second, protocol))
    summed = {
        f"{place} {side} {name}": (every[name][0] * chosen, every[name][1] * chosen)
        for place, chosen in enumerate(subsets)
        for side, every in enumerate(sides)
        for name in names
    }
    if not summed:
        return []
    drawn = _resampled(summed, membership, count, seed=seed, resamples=resamples)
    found = []
    for place, chosen in enumerate(subsets):
        values = [np.mean([drawn[f"{place} {side} {name}"] for name in names], axis=0) for side in (0, 1)]
        exact = [
            np.mean([_percent(summed[f"{place} {side} {name}"]) for name in names], dtype=np.float64) for side in (0, 1)
        ]
        there = len(np.unique(membership[chosen]))
        [(low, high)] = _percentiles({figure: values[1] - values[0]}, there, level).values()
        found.append(Difference(value=float(exact[1] - exact[0]), low=low, high=high))
    return found


def _percent(summed: tuple[np.ndarray, np.ndarray]) -> float:
    return 100 * ratio(summed[0].sum(), summed[1].sum())


def check_paired(first: Rows, second: Rows) -> None:
    """Raise `UsageError` unless both runs hold the same samples."""
    if not np.array_equal(first.key, second.key):
        differing = len(np.setxor1d(first.key, second.key))
        raise UsageError(f"two runs are compared on the same samples; {differing} of these are in one run only")


def _membership(rows: Rows, groups: np.ndarray | None) -> tuple[np.ndarray, int]:
    unique, membership = np.unique(rows.image_id if groups is None else groups, return_inverse=True)
    return membership, len(unique)


def _resampled(
    summed: Terms, membership: np.ndarray, count: int, *, seed: int, resamples: int
) -> dict[str, np.ndarray]:
    """Return each figure (resamples,) in percent, as it comes out with `count` groups drawn with replacement."""
    columns = [column for pair in summed.values() for column in pair]
    per_group = np.stack([np.bincount(membership, weights=column, minlength=count) for column in columns], axis=1)
    totals = np.concatenate([weights @ per_group for weights in _draws(count, seed=seed, resamples=resamples)])
    top, bottom = totals[:, 0::2], totals[:, 1::2]
    values = 100 * np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
    return with_derived(dict(zip(summed, values.T, strict=True)))


def _draws(count: int, *, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Yield weights (some resamples, count) float64: how often each group was drawn."""
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // max(1, count))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = generator.integers(0, max(1, count), size=(size, count)) + count * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)


def _percentiles(drawn: dict[str, np.ndarray], count: int, level: float) -> dict[str, tuple[float, float]]:
    tail = (1 - level) / 2
    found = {}
    for name, values in drawn.items():
        known = values[np.isfinite(values)]
        if count < 2 or not len(known):
            found[name] = (float("nan"), float("nan"))
        else:
            low, high = np.quantile(known, (tail, 1 - tail))
            found[name] = (float(low), float(high))
    return found
