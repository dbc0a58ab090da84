"""The affine letterbox: exact weights, where the image lies, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from risctl.vision.affine_letterbox import BORDER, AffineLetterbox, _kernels, _whole_kernels


@pytest.mark.parametrize("size", [(30, 50), (64, 64), (200, 90), (1, 500), (500, 1), (1, 1), (7, 3)])
def test_the_image_is_centred_and_only_border_is_padding(size: tuple[int, int]) -> None:
    height, width = size
    box = AffineLetterbox(height=height, width=width, size=64)
    white = box.image(np.full((height, width, 3), 255, np.uint8))
    padding = box.padding().numpy()
    assert white.shape == (64, 64, 3) and (white[padding] == BORDER).all() and not padding.all()
    forward, inverse = box.matrices()
    scale = 64 / max(size)
    assert forward[0, 0] == pytest.approx(scale, rel=1e-4) and forward[1, 1] == pytest.approx(scale, rel=1e-4)
    assert forward[0, 2] == pytest.approx((64 - width * scale) / 2, abs=1e-4)
    assert np.allclose(forward[:, :2] @ inverse[:, :2], np.eye(2), atol=1e-6)
    restored = box.invert(torch.rand(2, 16, 16))
    assert restored.shape == (2, height, width) and restored.min() >= 0 and restored.max() <= 1


def test_an_image_of_the_inputs_size_stays_as_it_is() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    box = AffineLetterbox(height=32, width=32, size=32)
    assert np.array_equal(box.image(image), image) and not box.padding().any()
    mask = image[..., 0] > 99
    assert np.array_equal(box.mask(mask), mask.astype(np.uint8) * 255)
    maps = torch.rand(1, 32, 32)
    assert torch.equal(box.restored(maps), maps)


def test_a_flat_image_stays_flat_whatever_the_size() -> None:
    """The weights of 8-bit images sum to one at each of the 1,024 positions."""
    for taps in (2, 4):
        assert (_whole_kernels(taps).sum(axis=(2, 3)) == 2**15).all()
        assert np.allclose(_kernels(taps).sum(axis=1), 1)
    box = AffineLetterbox(height=37, width=53, size=64)
    inner = box.image(np.full((37, 53, 3), BORDER, np.uint8))
    assert (inner == BORDER).all()


def test_a_mask_comes_back_where_it_was() -> None:
    mask = np.zeros((90, 60), dtype=bool)
    mask[20:50, 10:40] = True
    box = AffineLetterbox(height=90, width=60, size=96)
    soft = torch.from_numpy(box.mask(mask)).float()[None] / 255
    back = (box.invert(soft)[0] > 0.5).numpy()
    assert (back & mask).sum() / (back | mask).sum() > 0.97
    assert set(np.unique(box.mask(mask))) - {0, 255}, "edges are soft"
