"""J and F, against the plain reading of their definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from risctl.errors import DataError
from risctl.metrics.video import (
    average_over_annotators,
    boundary_measure,
    decay,
    measure_clip,
    outline,
    region_measure,
    video_figures,
)


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width))
    return ndimage.uniform_filter(noise, 5) > 0.5


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 500), height=st.integers(2, 300), width=st.integers(2, 90))
def test_f_is_matching_within_a_dilated_outline(seed: int, height: int, width: int) -> None:
    found, wanted = blobs(seed, height, width), blobs(seed + 1, height, width)
    radius = int(np.ceil(0.008 * np.hypot(height, width)))
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disk = x * x + y * y <= radius * radius
    edges = outline(found), outline(wanted)
    grown = [ndimage.binary_dilation(edge, disk) for edge in edges]
    counts = [int(edge.sum()) for edge in edges]
    if not all(counts):
        assert boundary_measure(found, wanted) == float(not any(counts))
        return
    precision = (edges[0] & grown[1]).sum() / counts[0]
    recall = (edges[1] & grown[0]).sum() / counts[1]
    expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    assert boundary_measure(found, wanted) == pytest.approx(expected, abs=1e-12)


def test_an_outline_is_one_pixel_wide_and_not_the_images_border() -> None:
    assert not outline(np.ones((4, 5), dtype=bool)).any()
    half = np.zeros((3, 4), dtype=bool)
    half[:, :2] = True
    assert np.argwhere(outline(half)).tolist() == [[0, 1], [1, 1], [2, 1]]


def test_void_counts_neither_way() -> None:
    target = np.zeros((4, 4), dtype=bool)
    target[:2] = True
    found = np.ones((4, 4), dtype=bool)
    void = np.zeros((4, 4), dtype=bool)
    void[2:] = True
    assert region_measure(found, target) == 0.5
    assert region_measure(found, target, void=void) == 1
    assert region_measure(~found, ~found) == 1


def clip(*frames: list[int]) -> np.ndarray:
    """Label maps of 20 x 20 pixels, split into vertical stripes with the labels given."""
    return np.stack([np.repeat(np.repeat(np.array(frame), 20 // len(frame))[None], 20, axis=0) for frame in frames])


def test_swapped_identities_are_forgiven_without_supervision_only() -> None:
    target = clip(*[[1, 0, 2, 0]] * 4)
    swapped = clip(*[[2, 0, 1, 0]] * 4)
    assert video_figures([measure_clip(swapped, target, task="unsupervised")])["J&F-Mean"] == 1
    assert video_figures([measure_clip(swapped, target, task="semi-supervised")])["J-Mean"] == 0
    assert measure_clip(swapped, target, task="unsupervised").labels == (2, 1)


def test_missing_and_superfluous_labels() -> None:
    target = clip(*[[1, 0, 2, 0]] * 4)
    one = clip(*[[0, 0, 2, 0]] * 4)
    assert measure_clip(one, target, task="semi-supervised").j_means() == [0, 1]
    assert measure_clip(one, target, task="unsupervised").j_means() == [0, 1]
    many = clip(*[[3, 0, 2, 1]] * 4)
    assert measure_clip(many, target, task="unsupervised").j_means() == [1, 1]
    with pytest.raises(DataError, match="label 3"):
        measure_clip(many, target, task="semi-supervised")


def test_the_first_and_last_frame_are_left_out_with_supervision() -> None:
    target = clip(*[[1, 0]] * 4)
    found = clip([0, 0], [1, 0], [1, 0], [0, 0])
    assert measure_clip(found, target, task="semi-supervised").j.tolist() == [[1, 1]]
    assert measure_clip(found, target, task="unsupervised").j.tolist() == [[0, 1, 1, 0]]


def test_void_pixels_are_no_object() -> None:
    target = clip(*[[1, 255]] * 3)
    found = clip(*[[1, 1]] * 3)
    assert measure_clip(found, target, task="unsupervised").j.tolist() == [[1, 1, 1]]


def test_what_cannot_be_measured_is_refused() -> None:
    target = clip(*[[1, 0]] * 2)
    with pytest.raises(DataError, match="too short"):
        measure_clip(target, target, task="semi-supervised")
    with pytest.raises(DataError, match="differ"):
        measure_clip(target[:1], target, task="unsupervised")
    with pytest.raises(DataError, match="no object"):
        measure_clip(target, np.zeros_like(target), task="unsupervised")


def test_decay_compares_the_first_quarter_with_the_last() -> None:
    assert decay(np.array([1.0, 1, 0.5, 0.5, 0, 0, 0, 0])) == pytest.approx(1.0 - 1 / 6)  # 3 frames in the first bin
    assert decay(np.ones(5)) == 0


def test_annotators_are_averaged() -> None:
    assert average_over_annotators([{"J-Mean": 0.5}, {"J-Mean": 1.0}]) == {"J-Mean": 0.75}
