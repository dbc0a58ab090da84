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
        return self.activate(self.conv(x))

    def activate(self, x: Tensor) -> Tensor:
        """Norm what the convolution gave, (B, C', H', W'), and pass it through the leaky ReLU."""
        # In place: a norm's gradient needs its input, not its output.
        return functional.leaky_relu_(self.norm(x), 0.1)


class UpsampleBlock(ConvBlock):
    """A 3x3 block on a map upsampled to twice its size by repeating cells, at less than half the cost.

    Of the 3x3 cells that an output sees, repeated ones are the same input: each of the four outputs that an input cell
    becomes sees 2x2 different cells, with sums of the kernel's weights. That is 16 products for 36, and the upsampled
    map is never made. Names and results (but for rounding) are those of `ConvBlock` after `upsample`.
    """

    def __init__(self, inputs: int, outputs: int, *, norm_momentum: float = 0.01) -> None:
        super().__init__(inputs, outputs, kernel=3, norm_momentum=norm_momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', 2H, 2W)."""
        height, width = x.shape[2:]
        top, middle, bottom = self.conv.weight.unbind(2)  # each (C', C, 3)
        padded = functional.pad(x, (1, 1, 1, 1))
        rows = []
        for down, halves in enumerate(((top, middle + bottom), (top + middle, bottom))):
            row = torch.stack(halves, dim=2)  # (C', C, 2, 3)
            left, centre, right = row.unbind(3)
            columns = []
            for across, pair in enumerate(((left, centre + right), (left + centre, right))):
                seen = padded[:, :, down : down + height + 1, across : across + width + 1]
                columns.append(functional.conv2d(seen, torch.stack(pair, dim=3)))
            rows.append(torch.stack(columns, dim=4))  # (B, C', H, W, 2)
        return self.activate(torch.stack(rows, dim=3).flatten(4).flatten(2, 3))


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

    Call it again after `train()`, which would set the norms to batch statistics: with these, a frozen backbone would
    give other features in training than in evaluation, and its stored statistics would drift.
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
