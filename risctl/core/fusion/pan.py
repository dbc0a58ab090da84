"""A path aggregation neck: coarse maps added to fine ones, and back.

Liu et al., "Path Aggregation Network for Instance Segmentation" (PANet, 2018), in NanoDet's form without convolutions
in between.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.visual.shufflenet import point


class PathAggregation(nn.Module):
    """Brings maps of several strides to one width and exchanges information between them."""

    def __init__(self, inputs: Sequence[int], *, channels: int) -> None:
        """Builds the neck.

        Args:
            inputs: Channels of the maps, finest first.
            channels: Channels of the output.
        """
        super().__init__()
        self.channels = channels
        self.narrow = nn.ModuleList(point(outputs, channels) for outputs in inputs)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (B, C_i, H_i, W_i), finest first, to as many (B, channels, H_i, W_i)."""
        outputs = [layer(one) for layer, one in zip(self.narrow, maps, strict=True)]
        for fine in range(len(outputs) - 2, -1, -1):
            outputs[fine] = outputs[fine] + _resized(outputs[fine + 1], like=outputs[fine])
        for coarse in range(1, len(outputs)):
            outputs[coarse] = outputs[coarse] + _resized(outputs[coarse - 1], like=outputs[coarse])
        return outputs


def _resized(x: Tensor, *, like: Tensor) -> Tensor:
    return functional.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)
