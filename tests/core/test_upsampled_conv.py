"""A convolution of an upsampled map, computed at the map's own size, against the plain order."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from risctl.core.upsampled_conv import UpsampledConv


def plain(layer: UpsampledConv, x: torch.Tensor) -> torch.Tensor:
    return functional.relu(layer.norm(layer.conv(functional.interpolate(x, scale_factor=2, mode="bilinear"))))


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (3, 5), (8, 8)])
def test_it_gives_what_upsampling_first_gives(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = UpsampledConv(6, 4).double().eval()
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    assert torch.allclose(layer(x), plain(layer, x), atol=1e-12)


def test_its_gradients_are_those_of_upsampling_first() -> None:
    torch.manual_seed(0)
    layer = UpsampledConv(3, 2).double().train()
    x = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(2, 2, 8, 6, dtype=torch.float64)
    ours = torch.autograd.grad((layer(x) * weights).sum(), (x, layer.conv.weight))
    theirs = torch.autograd.grad((plain(layer, x) * weights).sum(), (x, layer.conv.weight))
    assert all(torch.allclose(one, other, atol=1e-10) for one, other in zip(ours, theirs, strict=True))
