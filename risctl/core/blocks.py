"""The convolution block of the Darknet family, and how a part of a network is frozen."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvBlock(nn.Module):
    """CBL: convolution without bias, batch norm (eps 1e-3), leaky ReLU 0.1.

    A stride of 2 pads left and top only, as Darknet's Keras port does: a symmetric padding would shift every map by
    half a pixel against the published weights.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, norm_momentum: float = 0.01
    ) -> None:
        super().__init__()
        if (kernel, stride) not in ((1, 1), (3, 1), (3, 2)):
            raise ValueError(f"expected a kernel of 1 or 3, or 3 with stride 2; got {kernel} with stride {stride}")
        self.stride = stride
        self.conv = nn.Conv2d(
            inputs, outputs, kernel, stride=stride, padding=kernel // 2 if stride == 1 else 0, bias=False
        )
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=norm_momentum)
        nn.init.xavier_uniform_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H/stride, W/stride)."""
        if self.stride == 2:
            x = functional.pad(x, (1, 0, 1, 0))
        return functional.leaky_relu(self.norm(self.conv(x)), 0.1)


def dense(inputs: int, outputs: int) -> nn.Linear:
    """Return a linear layer as Keras makes one: glorot uniform weights, no bias at first."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def upsample(x: Tensor) -> Tensor:
    """Return (B, C, 2H, 2W), each cell repeated."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def freeze(parts: Iterable[nn.Module]) -> None:
    """Stop the training of `parts`: no gradients, and their norms keep the statistics they came with.

    Call it again after `train()`, which would set the norms to batch statistics: with these, a frozen trunk would give
    other features in training than in evaluation, and its stored statistics would drift.
    """
    for part in parts:
        part.eval()
        for parameter in part.parameters():
            parameter.requires_grad_(False)


def linspace_grid(height: int, width: int, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return the x and y coordinates (height, width) of a map's cells, each from -1 to 1."""
    x = torch.linspace(-1, 1, width, dtype=like.dtype, device=like.device)
    y = torch.linspace(-1, 1, height, dtype=like.dtype, device=like.device)
    return x[None, :].expand(height, width), y[:, None].expand(height, width)
