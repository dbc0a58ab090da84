"""Decodes the fused maps of LAVT's four stages, coarsest first, as two logits a cell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class LAVTDecoder(nn.Module):
    """Joins each finer map to what was decoded so far: upsampled, concatenated, two 3x3 convolutions (section 3.3)."""

    def __init__(self, channels: Sequence[int], *, width: int) -> None:
        """Builds the decoder.

        Args:
            channels: Channels of the maps, finest first.
            width: Channels of its convolutions.
        """
        super().__init__()
        *finer, coarsest = channels
        inputs = [coarsest, *(width for _ in finer[1:])]
        self.joins = nn.ModuleList(
            _join(decoded + own, width) for decoded, own in zip(inputs, reversed(finer), strict=True)
        )
        self.out = nn.Conv2d(width, 2, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, H_i, W_i), finest first, become logits of background and object, (B, 2, H_0, W_0)."""
        *finer, x = maps
        for join, own in zip(self.joins, reversed(finer), strict=True):
            x = join(torch.cat([upsampled(x, own.shape[-2:]), own], dim=1))
        logits: Tensor = self.out(x)
        return logits


def upsampled(x: Tensor, size: Sequence[int]) -> Tensor:
    """Resizes (B, C, h, w) bilinearly, corners on corners, to `size` if that is larger in any direction."""
    height, width = size
    if x.shape[-2] >= height and x.shape[-1] >= width:
        return x
    return functional.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)


def _join(inputs: int, width: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, width):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers)
