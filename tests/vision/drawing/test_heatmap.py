"""Colours of numbers, and outlines of masks."""

from __future__ import annotations

import numpy as np

from risctl.vision.drawing.heatmap import heatmap_overlay, outline, viridis


def test_colours_rise_in_lightness() -> None:
    colours = viridis(np.linspace(0, 1, 50))
    light = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    assert (np.diff(light) > 0).all()
    assert np.array_equal(viridis(np.array([-1.0, 2.0, np.nan])), viridis(np.array([0.0, 1.0, 0.0])))
    warm = heatmap_overlay(np.zeros((4, 4, 3), np.uint8), np.eye(4, dtype=np.float32))
    assert warm.dtype == np.uint8
    assert warm[0, 0, 0] > warm[0, 1, 0]


def test_an_outline_is_the_border_within() -> None:
    mask = np.zeros((6, 8), bool)
    mask[1:4, 2:6] = True
    line = outline(mask)
    assert line.sum() == 10
    assert not line[2, 3:5].any()
    assert not outline(np.ones((3, 3), bool)).any()
