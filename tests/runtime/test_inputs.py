"""The runtime without torch prepares inputs as the system does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from risctl.data.transforms.preprocess import ShortSidePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.runtime.inputs import mini_image, short_sided_image
from risctl.systems.mini.preprocess import FILL, MiniPreprocess


@pytest.mark.parametrize(("height", "width"), [(48, 90), (90, 31), (64, 64), (10, 12)])
def test_an_image_is_laid_out_as_in_torch(height: int, width: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected, geometry = MiniPreprocess(size=64, words=(), buckets=64, max_words=5).image(image)
    laid = mini_image(image, {"size": 64, "fill": FILL})
    assert np.array_equal(laid.images[0], expected.numpy())
    assert np.array_equal(laid.padding[0], geometry.padding().numpy())
    maps = np.random.default_rng(2).random((16, 16), dtype=np.float32)
    assert np.allclose(laid.restore(maps), geometry.invert(torch.from_numpy(maps)[None])[0].numpy(), atol=1e-5)


@pytest.mark.parametrize(("multiple", "nearest"), [(1, False), (32, False), (32, True), (1, True)])
@pytest.mark.parametrize(("height", "width"), [(48, 90), (91, 31), (64, 64)])
def test_an_image_of_a_short_side_is_laid_out_as_in_torch(
    height: int, width: int, multiple: int, nearest: bool
) -> None:
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    preprocess = ShortSidePreprocess(
        short=40, longest=70, max_words=5, vocabulary=Vocabulary(), multiple=multiple, nearest=nearest
    )
    expected, geometry = preprocess.image(image)
    laid = short_sided_image(image, {"short": 40, "longest": 70, "multiple": multiple, "nearest": nearest})
    assert np.array_equal(laid.images[0], expected.numpy())
    assert np.array_equal(laid.padding[0], geometry.padding().numpy())
    maps = np.random.default_rng(2).random((-(-expected.shape[1] // 4), -(-expected.shape[2] // 4)), dtype=np.float32)
    assert np.allclose(laid.restore(maps), geometry.invert(torch.from_numpy(maps)[None])[0].numpy(), atol=1e-5)
