"""How IoUs are spread, on samples whose IoUs are known."""

from __future__ import annotations

import numpy as np
import pytest

from risctl.metrics.accumulator import Accumulator
from risctl.metrics.curves import BINS, BOUNDS, histogram, precision_curve
from risctl.metrics.protocols import PROTOCOLS, Protocol, get_protocol


def strip(columns: int) -> np.ndarray:
    mask = np.zeros((10, 20), dtype=bool)
    mask[:, :columns] = True
    return mask


def measured(protocol: Protocol, *, found: list[int], wanted: list[int]) -> Accumulator:
    accumulator = Accumulator(protocol)
    for key, (one, other) in enumerate(zip(found, wanted, strict=True)):
        accumulator.add(strip(one), strip(other), key=key, image_id=key)
    return accumulator


def test_every_twentieth_falls_into_the_bin_below_its_upper_edge() -> None:
    protocol = get_protocol("original")
    rows = measured(protocol, found=list(range(21)), wanted=[20] * 21).rows()
    found = histogram(rows, protocol)
    assert found.counts == (1,) * BINS
    assert (found.zero, found.left_out) == (1, 0)


def test_samples_without_a_target_have_no_iou() -> None:
    protocol = get_protocol("rela")
    rows = measured(protocol, found=[0, 3, 20], wanted=[0, 0, 20]).rows()
    found = histogram(rows, protocol)
    assert (sum(found.counts), found.zero, found.left_out) == (1, 0, 2)
    assert all(value == 100 for _, value in precision_curve(rows, protocol))
    ordinary = get_protocol("lavt")
    assert histogram(rows, ordinary).left_out == 0


@pytest.mark.parametrize("name", [name for name, one in PROTOCOLS.items() if one.precisions])
def test_the_curve_passes_through_the_figures(name: str) -> None:
    protocol = get_protocol(name)
    # Ties included: 10 of 20 is an IoU of exactly a half.
    accumulator = measured(protocol, found=[*range(21), 0], wanted=[20] * 21 + [0])
    curve = dict(precision_curve(accumulator.rows(), protocol))
    figures = accumulator.figures()
    assert tuple(curve) == BOUNDS
    for figure, bound in protocol.precisions:
        assert curve[round(bound, 2)] == pytest.approx(figures[figure]), figure
    assert list(curve.values()) == sorted(curve.values(), reverse=True)


def test_without_samples_there_is_no_curve() -> None:
    protocol = get_protocol("original")
    rows = measured(protocol, found=[3], wanted=[0]).rows()
    assert precision_curve(rows, protocol) == []
    assert histogram(rows, protocol).counts == (0,) * BINS
