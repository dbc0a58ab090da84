"""Two runs on the same samples: parts that changed, samples that flipped."""

from __future__ import annotations

import numpy as np
import pytest

from risctl.errors import UsageError
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.bootstrap import paired_differences, paired_subset_differences
from risctl.metrics.paired import compared_parts, flips
from risctl.metrics.protocols import Protocol, get_protocol
from risctl.metrics.rows import Facts, Rows

ORIGINAL = get_protocol("original")


def rows_of(shares: list[int], *, protocol: Protocol = ORIGINAL, absent: int = 0) -> Rows:
    """Samples of which `shares` tenths of the target are found, two an image; the last `absent` have no target.

    Of these, a share of 0 finds nothing, others something. Every other sample says "left", the rest "red".
    """
    accumulator = Accumulator(protocol)
    for key, share in enumerate(shares):
        found, wanted = np.zeros((1, 10), dtype=bool), np.ones((1, 10), dtype=bool)
        found[:, :share] = True
        there = key < len(shares) - absent
        accumulator.add(
            found,
            wanted & there,
            key=key,
            image_id=key // 2,
            text="left cup" if key % 2 else "red cup",
            abilities=("place",) if key % 2 else ("colour",),
            facts=Facts(targets=int(there), categories=("cup",) if there else (), area=0.2, distractors=0),
        )
    return accumulator.rows()


def test_the_part_that_changed_is_found() -> None:
    generator = np.random.default_rng(0)
    before = generator.integers(2, 8, size=200).tolist()
    # Only what asks for a place got better.
    after = [share + 2 * (key % 2) for key, share in enumerate(before)]
    parts = {
        (compared_part.breakdown, compared_part.group): compared_part
        for compared_part in compared_parts(rows_of(before), rows_of(after), ORIGINAL)
    }
    place, colour = parts["ability", "place"], parts["ability", "colour"]
    assert (place.samples, place.images, place.figure, place.few) == (100, 100, "mIoU", False)
    assert place.difference.value == pytest.approx(20)
    assert place.after - place.before == pytest.approx(20)
    assert place.difference.significant
    assert (colour.difference.value, colour.difference.significant) == (0, False)
    assert parts["category", "cup"].difference.value == pytest.approx(10)


def test_a_group_has_the_interval_of_its_own_samples() -> None:
    generator = np.random.default_rng(1)
    first, second = (rows_of(generator.integers(0, 11, size=80).tolist()) for _ in range(2))
    whole = paired_differences(first, second, ORIGINAL)["mIoU"]
    every, none = np.ones(80, dtype=bool), np.zeros(80, dtype=bool)
    found, nothing = paired_subset_differences(first, second, ORIGINAL, [every, none], figure="mIoU")
    assert (found.value, found.low, found.high) == pytest.approx((whole.value, whole.low, whole.high))
    assert np.isnan(nothing.low) and not nothing.significant


def test_parts_without_a_target_are_compared_by_their_own_figure() -> None:
    shares = [10] * 20
    parts = compared_parts(rows_of(shares, absent=6), rows_of([*shares[:14], 0, 0, 0, 0, 0, 0], absent=6), ORIGINAL)
    assert {part.figure for part in parts if part.group == "no target"} == {"gIoU"}
    [absent] = [part for part in parts if part.group == "no target"]
    assert (absent.before, absent.after, absent.difference.value) == (0, 100, 100)
    assert {part.figure for part in parts if part.group == "one"} == {"mIoU"}


def test_flips_are_told_with_the_largest_change_first() -> None:
    before = rows_of([4, 10, 5, 0, 8, 3, 10], absent=1)
    after = rows_of([6, 2, 5, 0, 4, 9, 0], absent=1)
    found = flips(before, after, ORIGINAL)
    assert [(one.position, one.won) for one in found] == [(6, True), (1, False), (5, True), (4, False), (0, True)]
    assert (found[1].before, found[1].after) == (1.0, pytest.approx(0.2))
    assert flips(before, before, ORIGINAL) == []


def test_an_exact_half_is_right_only_where_the_protocol_says_so() -> None:
    strict = get_protocol("phrasecut")
    assert len(flips(rows_of([4]), rows_of([5]), ORIGINAL)) == 1
    assert flips(rows_of([4], protocol=strict), rows_of([5], protocol=strict), strict) == []


def test_other_samples_are_refused() -> None:
    with pytest.raises(UsageError, match="1 of these"):
        compared_parts(rows_of([1, 2]), rows_of([1, 2, 3]), ORIGINAL)
