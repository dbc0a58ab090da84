"""Building blocks that several networks share: convolution blocks, linear layers, coordinate grids and freezing."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvBlock(nn.Module):
    """Convolution without bias, batch norm and leaky ReLU with slope 0.1: the block of the Darknet family.

    A stride of 2 pads on the left and top only, as Darknet's Keras port does; symmetric padding would shift every map
    by half a pixel against the published weights.
    """

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, norm_momentum: float = 0.01
    ) -> None:
        """Builds the block.

        Args:
            inputs: Input channels.
            outputs: Output channels.
            kernel: Kernel size, 1 or 3.
            stride: 1, or 2 with a 3x3 kernel.
            norm_momentum: Momentum of the running statistics of the batch norm.

        Raises:
            ValueError: If no Darknet block has this kernel size and stride.
        """
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
        """Maps (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        if self.stride == 2:
            x = functional.pad(x, (1, 0, 1, 0))
        return self.activate(self.conv(x))

    def activate(self, x: Tensor) -> Tensor:
        """Applies batch norm and leaky ReLU to a convolution's output (B, C, H, W)."""
        # In place: a norm's gradient needs its input, not its output.
        return functional.leaky_relu_(self.norm(x), 0.1)


class UpsampleBlock(ConvBlock):
    """A 3x3 `ConvBlock` on a map upsampled to twice its size by nearest neighbour, computed at less than half the cost.

    Among the 3x3 cells that an output reads from an upsampled map, several are copies of one input cell. Each of the
    four outputs of an input cell therefore reads 2x2 distinct cells, weighted by sums of the kernel's weights: 16
    products instead of 36, and the upsampled map is never built. Parameter names are those of `ConvBlock`, and results
    equal `ConvBlock` after `upsample` up to rounding.
    """

    def __init__(self, inputs: int, outputs: int, *, norm_momentum: float = 0.01) -> None:
        super().__init__(inputs, outputs, kernel=3, norm_momentum=norm_momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, inputs, H, W) to (B, outputs, 2 H, 2 W)."""
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


def conv_norm_relu(inputs: int, outputs: int, *, kernel: int = 1) -> nn.Sequential:
    """Returns a convolution without bias that keeps the map's size, batch norm and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def upsample_bilinear(x: Tensor) -> Tensor:
    """Upsamples (B, C, H, W) to (B, C, 2 H, 2 W) bilinearly, corners not aligned."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def dense(inputs: int, outputs: int) -> nn.Linear:
    """Returns a linear layer with Keras's default initialisation: Glorot uniform weights and zero biases."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def upsample(x: Tensor) -> Tensor:
    """Upsamples (B, C, H, W) to (B, C, 2 H, 2 W) by nearest neighbour."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def freeze(parts: Iterable[nn.Module]) -> None:
    """Freezes modules: no gradients, and their norms keep the stored statistics.

    Call it again after `train()`, which switches the norms to batch statistics. With these, a frozen backbone would
    compute other features in training than in evaluation, and its stored statistics would drift.

    Args:
        parts: The modules to freeze.
    """
    for part in parts:
        part.eval()
        for parameter in part.parameters():
            parameter.requires_grad_(False)


def linspace_grid(height: int, width: int, *, like: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the x and y coordinates of a map's cells, each from -1 to 1.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        like: A tensor with the wanted dtype and device.

    Returns:
        x and y, each (height, width).
    """
    x = torch.linspace(-1, 1, width, dtype=like.dtype, device=like.device)
    y = torch.linspace(-1, 1, height, dtype=like.dtype, device=like.device)
    return x[None, :].expand(height, width), y[:, None].expand(height, width)
