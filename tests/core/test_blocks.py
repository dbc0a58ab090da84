"""Blocks of convolutions, and what is frozen."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional

from risctl.core.blocks import ConvBlock, UpsampleBlock, freeze, upsample


def test_stride_two_pads_left_and_top_only() -> None:
    torch.manual_seed(0)
    block = ConvBlock(2, 3, kernel=3, stride=2).eval()
    x = torch.randn(1, 2, 8, 8)
    padded = torch.zeros(1, 2, 9, 9)
    padded[:, :, 1:, 1:] = x
    convolved = functional.conv2d(padded, block.conv.weight, stride=2) / math.sqrt(1 + 1e-3)
    assert torch.allclose(block(x), torch.where(convolved > 0, convolved, 0.1 * convolved), atol=1e-6)
    assert block(x).shape == (1, 3, 4, 4)
    with pytest.raises(ValueError, match="kernel"):
        ConvBlock(2, 3, kernel=5)


@pytest.mark.parametrize("size", [(1, 1), (3, 5)])
def test_upsample_block_equals_a_block_after_upsampling(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    up, plain = UpsampleBlock(3, 4).double(), ConvBlock(3, 4, kernel=3).double()
    plain.load_state_dict(up.state_dict())
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    first, second = up(x), plain(upsample(x))
    assert torch.allclose(first, second)
    first.square().sum().backward()
    second.square().sum().backward()
    assert torch.allclose(up.conv.weight.grad, plain.conv.weight.grad)


def test_frozen_parts_have_no_gradients_and_keep_their_statistics() -> None:
    block = ConvBlock(2, 3).train()
    freeze([block])
    before = block.norm.running_mean.clone()
    block(torch.randn(4, 2, 8, 8) + 5)
    assert torch.equal(block.norm.running_mean, before)
    assert not any(parameter.requires_grad for parameter in block.parameters())
