"""An anchor-free detection head: class scores and a box at every cell of every level.

Li et al., "Generalized Focal Loss" (2020), in the light form of NanoDet-m and NanoDet-Plus-m (RangiLyu, 2020 and 2021):
the score of a class is also the expected quality of the box, and each side of a box is the mean of a distribution over
8 distances.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from risctl.core.encoders.visual.shufflenet import activate, point, spread

BINS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPredictions:
    """Predictions at all A cells of all levels together.

    Attributes:
        scores: (B, A, K) logits.
        sides: (B, A, 4, BINS) logits of the distance to left, top, right and bottom in strides.
        centres: (A, 2) x and y in input pixels.
        strides: (A,) in input pixels.
    """

    scores: Tensor
    sides: Tensor
    centres: Tensor
    strides: Tensor

    def boxes(self) -> Tensor:
        """Returns the boxes (B, A, 4), xyxy in input pixels."""
        steps = torch.arange(BINS, device=self.sides.device, dtype=self.sides.dtype)
        reach = (self.sides.softmax(-1) @ steps) * self.strides[:, None]  # (B, A, 4)
        return torch.cat([self.centres - reach[..., :2], self.centres + reach[..., 2:]], -1)


class _Tower(nn.Module):
    def __init__(self, channels: int, outputs: int, *, depth: int, kernel: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            layer for _ in range(depth) for layer in (spread(channels, kernel=kernel), point(channels, channels))
        )
        self.leave = point(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = activate(layer(x))
        return self.leave(x)


class DetectionHead(nn.Module):
    """A small convolutional tower per level, as in NanoDet-m."""

    def __init__(
        self,
        channels: int,
        *,
        classes: int,
        strides: Sequence[int],
        depth: int = 2,
        kernel: int = 3,
        cell_centre: float = 0.5,
    ) -> None:
        """Builds the head.

        Args:
            channels: Channels of the maps.
            classes: Number of categories K.
            strides: Stride of each level in input pixels.
            depth: Depthwise separable convolutions per tower.
            kernel: Side of their kernels.
            cell_centre: Where in its cell the point lies from which distances are measured, in strides: in the middle,
                or at 0, its upper left corner, as NanoDet-Plus has it.
        """
        super().__init__()
        self.cell_centre = cell_centre
        self.strides = tuple(strides)
        self.classes = classes
        self.towers = nn.ModuleList(
            _Tower(channels, classes + 4 * BINS, depth=depth, kernel=kernel) for _ in self.strides
        )

    def forward(self, maps: Sequence[Tensor]) -> CellPredictions:
        """Predicts scores and boxes from maps (B, C, H_i, W_i), one per stride."""
        outputs, centres, strides = [], [], []
        for stride, tower, x in zip(self.strides, self.towers, maps, strict=True):
            outputs.append(tower(x).flatten(2).transpose(1, 2))  # (B, H W, K + 4 BINS)
            height, width = x.shape[-2:]
            rows = (torch.arange(height, device=x.device) + self.cell_centre) * stride
            columns = (torch.arange(width, device=x.device) + self.cell_centre) * stride
            grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)  # (H, W, 2)
            centres.append(grid.view(-1, 2).to(x.dtype))
            strides.append(torch.full((height * width,), float(stride), device=x.device, dtype=x.dtype))
        joint = torch.cat(outputs, 1)
        scores, sides = joint.split([self.classes, 4 * BINS], -1)
        return CellPredictions(
            scores=scores,
            sides=sides.unflatten(-1, (4, BINS)),
            centres=torch.cat(centres),
            strides=torch.cat(strides),
        )
