"""LAVT's decoder: what evaluation computes in another order is what the layers say."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from risctl.systems.lavt.decoder import Join, LAVTDecoder, convolved_upsampled, upsampled


@pytest.mark.parametrize(("small", "large"), [((4, 5), (8, 10)), ((3, 3), (7, 4)), ((1, 2), (3, 2)), ((2, 1), (2, 5))])
def test_a_convolution_before_resizing_is_the_one_after_it(small: tuple[int, int], large: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 6, *small, dtype=torch.float64), torch.randn(4, 6, 3, 3, dtype=torch.float64)
    expected = functional.conv2d(upsampled(x, large), weight, padding=1)
    found = convolved_upsampled(x.float(), weight.float(), large)
    assert torch.allclose(found.double(), expected, atol=1e-4)


@pytest.mark.parametrize("small", [(3, 4), (6, 8)])
def test_evaluation_computes_what_the_layers_say(small: tuple[int, int]) -> None:
    torch.manual_seed(0)
    join = Join(6, 3, 8)
    for norm in (join[1], join[4]):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
    x, own = torch.randn(2, 6, *small), torch.randn(2, 3, 6, 8)
    for _ in range(3):
        join.train()(x, own)
    join.eval()
    expected = torch.cat([upsampled(x, (6, 8)), own], dim=1)
    for layer in join:
        expected = layer(expected)
    assert torch.allclose(join(x, own), expected, atol=1e-5)


def test_maps_of_any_sides_are_joined() -> None:
    decoder = LAVTDecoder((4, 8, 16, 32), width=8).eval()
    maps = [torch.randn(1, channels, *side) for channels, side in zip((4, 8, 16, 32), ((9, 7), (5, 4), (3, 2), (2, 1)))]
    assert decoder(maps).shape == (1, 2, 9, 7)
