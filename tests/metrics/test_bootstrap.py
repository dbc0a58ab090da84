"""Intervals: they cover what is known, and they resample images."""

from __future__ import annotations

import time

import numpy as np
import pytest

from risctl.errors import UsageError
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.bootstrap import intervals, paired_differences
from risctl.metrics.figures import figures
from risctl.metrics.protocols import get_protocol
from risctl.metrics.rows import Rows, objects

ORIGINAL = get_protocol("original")


def rows_of(intersection: np.ndarray, *, images: np.ndarray | None = None) -> Rows:
    """Samples with the intersections given, of a union of 1000 pixels."""
    count = len(intersection)
    every = np.arange(count)
    whole = np.full(count, 1000)
    return Rows(
        key=every,
        image_id=every if images is None else images,
        ref_id=every,
        sentence_id=every,
        text=np.full(count, "", dtype=object),
        abilities=np.full(count, None, dtype=object),
        score=np.ones(count),
        targeted=np.ones(count, dtype=bool),
        predicted_none=np.zeros(count, dtype=bool),
        intersection=intersection,
        union=whole,
        predicted=whole,
        boundary=np.full(count, np.nan),
        region=np.full(count, np.nan),
        targets=np.ones(count, dtype=np.int64),
        categories=objects([()] * count),
        area=np.full(count, np.nan),
        distractors=np.full(count, -1),
        others=objects([()] * count),
        box_overlap=np.full(count, np.nan),
    )


def test_an_interval_covers_the_truth_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    covered = 0
    for trial in range(200):
        found = intervals(rows_of(generator.integers(0, 1001, size=60)), ORIGINAL, seed=trial, resamples=300)["mIoU"]
        covered += found.low <= 50 <= found.high
    # 95% of 200, less three standard deviations and the little that percentile intervals are too narrow.
    assert 178 <= covered <= 200


def test_it_is_the_normal_interval_of_a_mean() -> None:
    shares = np.random.default_rng(0).integers(0, 1001, size=2000)
    found = intervals(rows_of(shares), ORIGINAL, resamples=4000)["mIoU"]
    error = 1.96 * (shares / 10).std() / np.sqrt(2000)
    assert found.low == pytest.approx((shares / 10).mean() - error, abs=0.1)
    assert found.high == pytest.approx((shares / 10).mean() + error, abs=0.1)


def test_images_are_drawn_not_sentences() -> None:
    """Ten sentences of one image that fare alike say no more than one."""
    shares = np.random.default_rng(0).integers(0, 1001, size=100)
    apart = intervals(rows_of(shares), ORIGINAL)["mIoU"]
    together = intervals(rows_of(np.repeat(shares, 10), images=np.repeat(np.arange(100), 10)), ORIGINAL)["mIoU"]
    assert together.high - together.low == pytest.approx(apart.high - apart.low, rel=1e-9)


def test_seeds_repeat_and_figures_lie_within() -> None:
    rows = rows_of(np.random.default_rng(0).integers(0, 1001, size=80))
    first, again = intervals(rows, ORIGINAL, seed=3), intervals(rows, ORIGINAL, seed=3)
    assert first == again
    assert first != intervals(rows, ORIGINAL, seed=4)
    for name, value in figures(rows, ORIGINAL).items():
        assert first[name].low <= value <= first[name].high
    assert intervals(rows, ORIGINAL, resamples=0) == {}


@pytest.mark.parametrize("count", [0, 1])
def test_less_than_two_images_have_no_interval(count: int) -> None:
    found = intervals(rows_of(np.full(count, 500)), ORIGINAL)
    assert found
    assert all(np.isnan(one.low) and np.isnan(one.high) for one in found.values())


def test_a_paired_difference_sees_what_separate_intervals_do_not() -> None:
    generator = np.random.default_rng(0)
    before = generator.integers(0, 900, size=200)
    after = before + generator.integers(0, 40, size=200)
    first, second = rows_of(before), rows_of(after)
    separate = intervals(first, ORIGINAL)["mIoU"].high, intervals(second, ORIGINAL)["mIoU"].low
    assert separate[0] > separate[1]
    found = paired_differences(first, second, ORIGINAL)["mIoU"]
    assert found.value == pytest.approx((after - before).mean() / 10)
    assert found.low < found.value < found.high
    assert found.significant
    same = paired_differences(first, first, ORIGINAL)["mIoU"]
    assert (same.value, same.low, same.high, same.significant) == (0, 0, 0, False)


def test_a_paired_difference_needs_the_same_samples() -> None:
    with pytest.raises(UsageError, match="1 of these"):
        paired_differences(rows_of(np.arange(5)), rows_of(np.arange(6)), ORIGINAL)


def test_j_and_f_have_an_interval_together() -> None:
    davis = get_protocol("davis")
    accumulator = Accumulator(davis)
    generator = np.random.default_rng(0)
    for key in range(12):
        mask = np.zeros((30, 30), dtype=bool)
        mask[5 : int(generator.integers(10, 25)), 5:20] = True
        accumulator.add(mask, np.roll(mask, 3, axis=0), key=key, image_id=key)
    found = intervals(accumulator.rows(), davis)["J&F"]
    assert found.low < accumulator.figures()["J&F"] < found.high


def test_a_thousand_resamples_of_a_large_split_take_moments() -> None:
    rows = rows_of(np.random.default_rng(0).integers(0, 1001, size=10_000))
    began = time.perf_counter()
    intervals(rows, ORIGINAL)
    assert time.perf_counter() - began < 10
