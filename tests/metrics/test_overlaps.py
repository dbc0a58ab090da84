"""Overlaps of masks, probabilities and RLEs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from risctl.metrics.overlaps import generalised_box_iou, overlap, predicted_mask, target_mask
from risctl.vision import rle


def random_mask(seed: int, height: int, width: int, density: float) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width)) < density


@settings(deadline=None)
@given(
    seed=st.integers(0, 1000),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    densities=st.tuples(*[st.sampled_from([0.0, 0.2, 0.8, 1.0])] * 2),
)
def test_rle_and_dense_overlaps_agree(seed: int, height: int, width: int, densities: tuple[float, float]) -> None:
    found = random_mask(seed, height, width, densities[0])
    wanted = random_mask(seed + 1, height, width, densities[1])
    dense = overlap(found, wanted)
    assert dense.intersection == np.logical_and(found, wanted).sum()
    assert dense.union == np.logical_or(found, wanted).sum()
    assert (dense.predicted, dense.target) == (found.sum(), wanted.sum())
    assert overlap(rle.encode(found), rle.encode(wanted)) == dense
    assert overlap(found, rle.encode(wanted)) == dense
    assert overlap(found.astype(np.float32), wanted, threshold=0.35) == dense


def test_a_pixel_at_the_threshold_is_outside() -> None:
    probabilities = np.array([[0.5, np.nextafter(np.float32(0.5), 1), 0.49, np.nan]], dtype=np.float32)
    assert predicted_mask(probabilities).tolist() == [[False, True, False, False]]


@pytest.mark.parametrize("size", [(7, 5), (480, 640), (1, 1), (961, 480), (333, 500)])
def test_targets_are_resized_as_pillow_does(size: tuple[int, int]) -> None:
    mask = random_mask(3, *size, 0.5)
    resized = Image.fromarray(mask.astype(np.uint8)).resize((480, 480), Image.Resampling.NEAREST)
    assert np.array_equal(target_mask(mask, resolution=(480, 480)), np.array(resized).astype(bool))


def test_probabilities_are_resized_before_they_are_compared() -> None:
    """Between 0.9 and 0.2 the half of the way is found, which resizing the mask instead could not."""
    probabilities = np.array([[0.9, 0.2]], dtype=np.float64)
    found = predicted_mask(probabilities, resolution=(480, 480))
    # Centres of the two pixels are at columns 120 and 360; 0.5 is passed 4/7 of the way from the first to the second.
    edge = 120 + 240 * 4 / 7
    assert found[:, : int(edge - 1)].all()
    assert not found[:, int(edge + 1) :].any()


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\(2, 3\) and target \(3, 2\)"):
        overlap(np.ones((2, 3), dtype=bool), rle.empty(3, 2))
    with pytest.raises(ValueError, match="shape"):
        overlap(np.ones((1, 2, 3), dtype=bool), np.ones((2, 3), dtype=bool))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((2, 3, 4, 5), (2, 3, 4, 5), 1.0),
        ((0, 0, 4, 2), (2, 0, 4, 2), 1 / 3),
        ((0, 0, 1, 1), (3, 0, 1, 1), -0.5),
        ((0, 0, 2, 2), (1, 1, 2, 2), 1 / 7 - 2 / 9),
        ((1, 1, 0, 0), (1, 1, 0, 0), -1.0),
    ],
)
def test_generalised_iou_of_boxes(first: tuple[float, ...], second: tuple[float, ...], expected: float) -> None:
    assert generalised_box_iou(first, second) == pytest.approx(expected)
    assert generalised_box_iou(second, first) == pytest.approx(expected)
