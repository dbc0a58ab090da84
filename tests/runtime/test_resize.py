"""Resizing in numpy gives what torch gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from risctl.runtime.resize import antialiased, bilinear


@pytest.mark.parametrize(
    ("before", "after"),
    [((48, 64), (31, 41)), ((50, 20), (120, 48)), ((1, 90), (1, 32)), ((300, 37), (32, 3)), ((9, 9), (9, 9))],
)
def test_images_are_resized_to_the_bit(before: tuple[int, int], after: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*before, 3), dtype=np.uint8)
    image[0, :2] = ((0, 0, 0), (255, 255, 255))[: min(2, before[1])]
    ours = antialiased(image, height=after[0], width=after[1])
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    theirs = functional.interpolate(planes, size=after, mode="bilinear", align_corners=False, antialias=True)
    assert np.array_equal(ours, theirs[0].permute(1, 2, 0).numpy())


def test_large_images_are_resized_within_one_level() -> None:
    image = np.random.default_rng(0).integers(0, 256, (1100, 1000, 3), dtype=np.uint8)
    ours = antialiased(image, height=44, width=40)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None]
    theirs = functional.interpolate(planes, size=(44, 40), mode="bilinear", align_corners=False, antialias=True)
    assert np.abs(ours.astype(int) - theirs[0].permute(1, 2, 0).numpy()).max() <= 1


@pytest.mark.parametrize(("before", "after"), [((12, 16), (48, 64)), ((48, 30), (20, 70)), ((5, 5), (5, 5))])
def test_maps_are_resized_as_torch_does(before: tuple[int, int], after: tuple[int, int]) -> None:
    values = np.random.default_rng(0).random(before, dtype=np.float32)
    theirs = functional.interpolate(
        torch.from_numpy(values)[None, None], size=after, mode="bilinear", align_corners=False
    )
    assert np.allclose(bilinear(values, height=after[0], width=after[1]), theirs[0, 0].numpy(), atol=1e-5)
