"""A path aggregation neck: coarse maps added to fine ones, and back (Liu et al., "PANet", 2018; NanoDet's form of it,
without convolutions between)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.visual.shufflenet import point


class PathAggregation(nn.Module):
    """Brings maps of several strides, finest first, to one width and lets each know of the others."""

    def __init__(self, inputs: Sequence[int], *, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.narrow = nn.ModuleList(point(own, channels) for own in inputs)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Map (B, C_i, H_i, W_i), finest first, to as many (B, channels, H_i, W_i)."""
        own = [layer(one) for layer, one in zip(self.narrow, maps, strict=True)]
        for fine in range(len(own) - 2, -1, -1):
            own[fine] = own[fine] + _resized(own[fine + 1], like=own[fine])
        for coarse in range(1, len(own)):
            own[coarse] = own[coarse] + _resized(own[coarse - 1], like=own[coarse])
        return own


def _resized(x: Tensor, *, like: Tensor) -> Tensor:
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
