"""Target and prediction side by side."""

from __future__ import annotations

import numpy as np
import pytest

from risctl.vision.drawing.side_by_side import side_by_side


def test_each_side_shows_its_own_mask_only() -> None:
    image = np.full((40, 60, 3), 128, dtype=np.uint8)
    target, found = np.zeros((2, 40, 60), dtype=bool)
    target[10:20, 10:20] = True
    found[25:35, 40:50] = True
    pair = side_by_side(image, target=target, predicted=found, side=60)
    assert pair.shape == (40, 126, 3)
    left, right = pair[:, :60], pair[:, 66:]
    assert (left[15, 15] != 128).any() and (right[15, 15] == 128).all()
    assert (right[30, 45] != 128).any() and (left[30, 45] == 128).all()
    # Blue on the left, orange on the right: the masks are told apart by more than their side.
    assert left[15, 15, 2] > left[15, 15, 0] and right[30, 45, 0] > right[30, 45, 2]


def test_a_tiny_mask_in_a_large_image_stays_visible() -> None:
    image = np.zeros((2000, 3000, 3), dtype=np.uint8)
    target = np.zeros((2000, 3000), dtype=bool)
    target[700, 900] = True
    pair = side_by_side(image, target=target, predicted=np.zeros_like(target), side=300)
    assert pair.shape == (200, 606, 3)
    assert pair[:, :300].any() and not pair[:, 306:].any()


def test_masks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="size"):
        side_by_side(
            np.zeros((4, 4, 3), dtype=np.uint8), target=np.zeros((4, 5), bool), predicted=np.zeros((4, 4), bool), side=9
        )
