"""ShuffleNetV2: its maps and its units."""

from __future__ import annotations

import torch

from risctl.core.encoders.visual.shufflenet import ShuffleNet


def test_the_backbone_has_the_stated_maps() -> None:
    maps = ShuffleNet()(torch.rand(2, 3, 64, 96), torch.zeros(2, 64, 96, dtype=torch.bool)).maps
    assert [feature_map.shape[1] for feature_map in maps] == list(ShuffleNet.channels)
    assert [(feature_map.shape[2], feature_map.shape[3]) for feature_map in maps] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert sum(parameter.numel() for parameter in ShuffleNet().parameters()) < 0.8e6


def test_a_unit_of_stride_one_passes_half_of_the_channels() -> None:
    unit = ShuffleNet().stages[0][1]
    x = torch.rand(1, 116, 4, 4)
    assert torch.equal(unit(x)[:, ::2], x[:, :58])
