"""Computes confidence intervals by the percentile bootstrap over images.

Sentences of one image succeed and fail together, so an image is resampled with all its samples. Every figure is a ratio
of two sums, so a resample is a weighted sum of what each image adds to them: no sample is visited twice.
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
"""Draws held in memory at once."""
LEVEL = 0.95
"""The confidence level of the intervals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A confidence interval in percent; NaN where there is nothing to resample (fewer than two images).

    Attributes:
        low: The lower bound.
        high: The upper bound.
    """

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference(Interval):
    """How many percentage points the second run is better than the first, and the interval of that.

    Attributes:
        value: The difference itself.
    """

    value: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


def intervals(rows: Rows, protocol: Protocol, *, seed: int = 0, resamples: int = 1000) -> dict[str, Interval]:
    """Computes the interval of each figure of a protocol that is a ratio of sums (all but the average precisions).

    Args:
        rows: The samples.
        protocol: The protocol whose figures are computed.
        seed: Seed of the resampling.
        resamples: How often images are resampled; 0 for no intervals.

    Returns:
        Intervals by figure. Resamples in which a figure cannot be measured are left out of its interval.
    """
    if not resamples:
        return {}
    membership, count = _membership(rows.image_id)
    drawn = _resampled(terms(rows, protocol), membership, count, seed=seed, resamples=resamples)
    return {name: Interval(**_bounds(values, count)) for name, values in drawn.items()}


def subset_intervals(
    rows: Rows,
    protocol: Protocol,
    subsets: Sequence[np.ndarray],
    *,
    figure: str,
    seed: int = 0,
    resamples: int = 1000,
) -> list[Interval | None]:
    """Computes the interval of one figure for each of several subsets, all from the same resamples of images.

    Args:
        rows: N samples.
        protocol: The protocol of the figure.
        subsets: Which rows belong to each subset, bool (N,).
        figure: The figure's name; J&F is the mean of J and F.
        seed: Seed of the resampling.
        resamples: How often images are resampled.

    Returns:
        One interval per subset: NaN where fewer than two images have a sample of it, None if `resamples` is 0.
        Resamples without a sample of the subset are left out.
    """
    if not resamples:
        return [None] * len(subsets)
    drawn = _drawn_subsets((rows,), protocol, subsets, figure=figure, seed=seed, resamples=resamples)
    return [Interval(**_bounds(one.drawn[0], one.images)) for one in drawn]


def share_interval(right: np.ndarray, groups: np.ndarray, *, seed: int = 0, resamples: int = 1000) -> Interval:
    """Computes the interval of the share of right samples.

    Args:
        right: Which samples are right, bool (N,).
        groups: The group of each sample, (N,); samples of one group are resampled together.
        seed: Seed of the resampling.
        resamples: How often groups are resampled.
    """
    membership, count = _membership(groups)
    summed: Terms = {"share": (right.astype(np.float64), np.ones(len(right)))}
    drawn = _resampled(summed, membership, count, seed=seed, resamples=resamples)
    return Interval(**_bounds(drawn["share"], count))


def paired_differences(
    first: Rows, second: Rows, protocol: Protocol, *, seed: int = 0, resamples: int = 1000
) -> dict[str, Difference]:
    """Computes, for each figure, how much better one run is than another on the same samples.

    Each resample draws the same images for both runs, so what makes an image hard for both cancels out.

    Args:
        first: The samples of the first run.
        second: The same samples of the second run.
        protocol: The protocol whose figures are compared.
        seed: Seed of the resampling.
        resamples: How often images are resampled.

    Returns:
        Second minus first, by figure.

    Raises:
        UsageError: The runs hold different samples.
    """
    check_paired(first, second)
    membership, count = _membership(first.image_id)
    theirs = _resampled(terms(first, protocol), membership, count, seed=seed, resamples=resamples)
    ours = _resampled(terms(second, protocol), membership, count, seed=seed, resamples=resamples)
    before, after = figures(first, protocol), figures(second, protocol)
    return {
        name: Difference(value=after[name] - before[name], **_bounds(ours[name] - theirs[name], count))
        for name in ours
        if name in theirs
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
) -> list[Difference]:
    """Computes how much better one run is than another in one figure, for each of several subsets of the samples.

    Args:
        first: N samples of the first run.
        second: The same samples of the second run.
        protocol: The protocol of the figure.
        subsets: Which rows belong to each subset, bool (N,).
        figure: The figure's name; J&F is the mean of J and F.
        seed: Seed of the resampling.
        resamples: How often images are resampled; all subsets share the resamples.

    Returns:
        Second minus first per subset; NaN where the figure cannot be measured, or fewer than two images have a sample.

    Raises:
        UsageError: The runs hold different samples.
    """
    check_paired(first, second)
    drawn = _drawn_subsets((first, second), protocol, subsets, figure=figure, seed=seed, resamples=resamples)
    return [
        Difference(value=one.exact[1] - one.exact[0], **_bounds(one.drawn[1] - one.drawn[0], one.images))
        for one in drawn
    ]


def check_paired(first: Rows, second: Rows) -> None:
    """Checks that both runs hold the same samples.

    Raises:
        UsageError: They do not.
    """
    if not np.array_equal(first.key, second.key):
        differing = len(np.setxor1d(first.key, second.key))
        raise UsageError(f"two runs are compared on the same samples; {differing} of these are in one run only")


@dataclass(frozen=True, slots=True, kw_only=True)
class _DrawnSubset:
    """One figure of a subset in percent, for each run: of the resamples (R,), and of the subset itself."""

    drawn: list[np.ndarray]
    exact: list[float]
    images: int


def _drawn_subsets(
    runs: Sequence[Rows], protocol: Protocol, subsets: Sequence[np.ndarray], *, figure: str, seed: int, resamples: int
) -> Iterator[_DrawnSubset]:
    names = ("J", "F") if figure == "J&F" else (figure,)
    membership, count = _membership(runs[0].image_id)
    every = [terms(rows, protocol) for rows in runs]
    summed = {
        f"{place} {run} {name}": (every[run][name][0] * chosen, every[run][name][1] * chosen)
        for place, chosen in enumerate(subsets)
        for run in range(len(runs))
        for name in names
    }
    if not summed:
        return
    drawn = _resampled(summed, membership, count, seed=seed, resamples=resamples)
    for place, chosen in enumerate(subsets):
        keys = [[f"{place} {run} {name}" for name in names] for run in range(len(runs))]
        yield _DrawnSubset(
            drawn=[np.mean([drawn[key] for key in own], axis=0) for own in keys],
            exact=[float(np.mean([_percent(summed[key]) for key in own])) for own in keys],
            images=len(np.unique(membership[chosen])),
        )


def _percent(summed: tuple[np.ndarray, np.ndarray]) -> float:
    return 100 * ratio(summed[0].sum(), summed[1].sum())


def _membership(groups: np.ndarray) -> tuple[np.ndarray, int]:
    unique, membership = np.unique(groups, return_inverse=True)
    return membership, len(unique)


def _resampled(
    summed: Terms, membership: np.ndarray, count: int, *, seed: int, resamples: int
) -> dict[str, np.ndarray]:
    """Returns each figure (resamples,) in percent, with `count` groups drawn with replacement."""
    columns = [column for pair in summed.values() for column in pair]
    per_group = np.stack([np.bincount(membership, weights=column, minlength=count) for column in columns], axis=1)
    totals = np.concatenate([weights @ per_group for weights in _draws(count, seed=seed, resamples=resamples)])
    top, bottom = totals[:, 0::2], totals[:, 1::2]
    values = 100 * np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
    return with_derived(dict(zip(summed, values.T, strict=True)))


def _draws(count: int, *, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Yields weights (some resamples, count) float64: how often each group was drawn."""
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK // max(1, count))
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = generator.integers(0, max(1, count), size=(size, count)) + count * np.arange(size)[:, None]
        yield np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(np.float64)


def _bounds(values: np.ndarray, count: int) -> dict[str, float]:
    """Returns the bounds between which `LEVEL` of the drawn `values` lie; NaN for fewer than two groups."""
    known = values[np.isfinite(values)]
    if count < 2 or not len(known):
        return {"low": float("nan"), "high": float("nan")}
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(known, (tail, 1 - tail))
    return {"low": float(low), "high": float(high)}
