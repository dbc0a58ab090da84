"""Pictures scaled to a longest side: what lies where, and back again."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from risctl.vision.resize import ResizeLongest

sides = st.integers(1, 300)


@given(height=sides, width=sides, longest=st.integers(1, 16).map(lambda number: 8 * number))
def test_the_input_is_just_large_enough(height: int, width: int, longest: int) -> None:
    fitted = ResizeLongest.fit(height=height, width=width, longest=longest, multiple=8)
    assert max(fitted.inner_height, fitted.inner_width) == longest
    assert fitted.input_height % 8 == fitted.input_width % 8 == 0
    assert 0 <= fitted.input_height - fitted.inner_height < 8
    picture = ~fitted.padding()
    assert picture.sum() == fitted.inner_height * fitted.inner_width
    image = fitted.image(np.full((height, width, 3), 255, np.uint8))
    assert image.shape[1:] == picture.shape
    assert torch.equal(image[0] > 0.5, picture)
    mask = fitted.mask(np.ones((height, width), bool))
    assert torch.equal(mask > 0.5, picture)
    back = fitted.invert(mask[None])
    assert back.shape == (1, height, width)
    assert back.min() > 1 - 1e-5


@given(seed=st.integers(0, 1000))
def test_masks_come_back_where_they_were(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = (int(side) for side in generator.integers(40, 200, 2))
    mask = np.zeros((height, width), bool)
    top, left = int(generator.integers(0, height // 2)), int(generator.integers(0, width // 2))
    mask[top : top + height // 2, left : left + width // 2] = True
    fitted = ResizeLongest.fit(height=height, width=width, longest=128, multiple=8)
    back = fitted.invert(fitted.mask(mask)[None])[0].numpy() > 0.5
    assert (back & mask).sum() / (back | mask).sum() > 0.93
