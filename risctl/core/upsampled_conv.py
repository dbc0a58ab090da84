"""A 3x3 convolution of a map upsampled bilinearly, computed at the map's own size."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


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
        height, width = x.shape[2:]
        outputs, inputs = self.conv.weight.shape[:2]
        matrices = self.conv.weight.permute(2, 3, 0, 1).reshape(9 * outputs, inputs, 1, 1)
        products = functional.conv2d(x, matrices)
        across = _upsampled(products, (height, 2 * width)).unflatten(1, (3, 3, outputs))
        rows = _shifted_sum(across[:, :, 0], across[:, :, 1], across[:, :, 2], axis=-1)
        down = _upsampled(rows.flatten(1, 2), (2 * height, 2 * width)).unflatten(1, (3, outputs))
        return functional.relu(self.norm(_shifted_sum(down[:, 0], down[:, 1], down[:, 2], axis=-2)))


def _upsampled(x: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def _shifted_sum(before: Tensor, at: Tensor, after: Tensor, *, axis: int) -> Tensor:
    """Returns at each place the sum of `before` one place back, `at`, and `after` one place on; zeros beyond."""
    length = at.shape[axis]
    total = at.clone()
    total.narrow(axis, 1, length - 1).add_(before.narrow(axis, 0, length - 1))
    total.narrow(axis, 0, length - 1).add_(after.narrow(axis, 1, length - 1))
    return total
