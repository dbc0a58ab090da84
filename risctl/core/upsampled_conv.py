"""A 3x3 convolution of a map upsampled bilinearly, computed at the map's own size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_CHANNELS = 128
"""Channels that are upsampled together: few enough for a processor's cache."""


class UpsampledConv(nn.Module):
    """Bilinear upsampling to twice the size, a 3x3 convolution without bias, batch norm and ReLU.

    A convolution sums nine products of a matrix with a shifted map. A matrix acts on channels and upsampling on cells,
    so that either can come first: the matrices are applied to the small map, which has a quarter of the cells, and
    their nine results are upsampled, shifted and summed. Results equal the plain order up to rounding.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, inputs, H, W) to (B, outputs, 2 H, 2 W)."""
        cells = x.flatten(2).transpose(1, 2)
        parts = [self._part(cells, weight, size=x.shape[2:]) for weight in self.conv.weight.split(_CHANNELS)]
        return functional.relu(self.norm(torch.cat(parts, dim=3).permute(0, 3, 1, 2)))

    def _part(self, cells: Tensor, weight: Tensor, *, size: torch.Size) -> Tensor:
        """Returns some channels of the convolution, (B, 2 H, 2 W, C'), of cells (B, H * W, C)."""
        # Upsampling by whole numbers is four times too large along each axis.
        matrices = weight.permute(1, 2, 3, 0).reshape(cells.shape[2], -1) / 16
        # Channels last: what follows adds whole vectors of channels.
        products = (cells @ matrices).view(cells.shape[0], *size, 3, 3, -1)
        across = _upsampled_sum(products.unbind(4), axis=2)
        return _upsampled_sum(across.unbind(3), axis=1)


def _upsampled_sum(taps: Sequence[Tensor], *, axis: int) -> Tensor:
    """Upsamples three tensors along an axis, and sums the first one place back, the second, and the third one place on.

    Beyond the ends there are zeros, as a convolution pads the upsampled map.
    """
    before, at, after = (_upsampled(tap, axis=axis) for tap in taps)
    length = taps[0].shape[axis] - 1
    even = at[0] + after[1]
    even.narrow(axis, 1, length).add_(before[1].narrow(axis, 0, length))
    odd = at[1] + before[0]
    odd.narrow(axis, 0, length).add_(after[0].narrow(axis, 1, length))
    return torch.stack([even, odd], dim=axis + 1).flatten(axis, axis + 1)


def _upsampled(x: Tensor, *, axis: int) -> tuple[Tensor, Tensor]:
    """Returns the even and the odd places of 4 `x` at twice its length: 3 `x` and a neighbour, the ends repeated."""
    length = x.shape[axis] - 1
    even, odd = 3 * x, 3 * x
    even.narrow(axis, 1, length).add_(x.narrow(axis, 0, length))
    even.narrow(axis, 0, 1).add_(x.narrow(axis, 0, 1))
    odd.narrow(axis, 0, length).add_(x.narrow(axis, 1, length))
    odd.narrow(axis, length, 1).add_(x.narrow(axis, length, 1))
    return even, odd
