"""Positions of words and coordinates of maps."""

from __future__ import annotations

import math

import pytest
import torch

from risctl.core.fusion.position import sinusoid, with_coordinates


def test_sinusoid_is_interleaved() -> None:
    table = sinusoid(50, 8, like=torch.zeros(1))
    for position in (0, 1, 49):
        for pair in range(4):
            angle = position / 10000 ** (2 * pair / 8)
            assert table[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_coordinates_follow_the_map_and_its_axes() -> None:
    out = with_coordinates(torch.zeros(2, 1, 2, 3))
    assert out.shape == (2, 7, 2, 3)
    assert out[0, 1].tolist() == out[1, 3].tolist() == [[-1, 0, 1]] * 2
    assert out[0, 4].tolist() == out[1, 6].tolist() == [[-1, -1, -1], [1, 1, 1]]
