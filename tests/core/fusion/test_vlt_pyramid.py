"""VLT's pyramid takes the maps of any backbone."""

from __future__ import annotations

import torch
from torch import nn

from risctl.core.fusion.vlt_pyramid import VLTPyramid


def test_pyramid_takes_any_backbone() -> None:
    for channels in ((3, 4, 5), (256, 512, 16)):
        pyramid = VLTPyramid(channels, sentence=6, width=8, hidden=10).eval()
        maps = [torch.randn(2, channel, 16 // scale, 16 // scale) for channel, scale in zip(channels, (1, 2, 4))]
        prepared = pyramid.prepare(maps)
        assert [tuple(one.shape[1:]) for one in prepared] == [(4, 8, 8), (8, 8, 8), (16, 4, 4)]
        fused = pyramid.join(prepared, torch.randn(2, 6))
        assert fused.fused.shape == (2, 10, 8, 8) and fused.query_features.shape == (2, 8, 8, 8)
    assert isinstance(VLTPyramid((3, 4, 16), sentence=6, width=8, hidden=10).adapt, nn.Identity)
