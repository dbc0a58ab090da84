"""Polygons with their outline, as OpenCV draws them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from risctl.vision.outline_fill import fill_outlined


def test_corners_and_outline_belong_to_the_mask() -> None:
    mask = fill_outlined([(1, 1), (5, 1), (5, 3), (1, 3)], height=6, width=8)
    wanted = np.zeros((6, 8), dtype=bool)
    wanted[1:4, 1:6] = True
    assert np.array_equal(mask, wanted)
    assert np.argwhere(fill_outlined([(2, 3)], height=6, width=8)).tolist() == [[3, 2]]
    assert np.argwhere(fill_outlined([(2, 3), (4, 3)], height=6, width=8)).tolist() == [[3, 2], [3, 3], [3, 4]]


def test_what_lies_outside_is_cut_off() -> None:
    assert fill_outlined([(-9, -9), (30, -9), (30, 30), (-9, 30)], height=4, width=5).all()
    assert not fill_outlined([(20, 20), (30, 20), (30, 30)], height=4, width=5).any()


@given(points=st.lists(st.tuples(st.integers(-20, 40), st.integers(-20, 40)), min_size=1, max_size=7))
def test_any_polygon_holds_its_corners_and_starts_anywhere(points: list[tuple[int, int]]) -> None:
    mask = fill_outlined(points, height=16, width=20)
    assert all(mask[y, x] for x, y in points if 0 <= x < 20 and 0 <= y < 16)
    assert np.array_equal(mask, fill_outlined([*points[1:], points[0]], height=16, width=20))
