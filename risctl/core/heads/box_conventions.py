"""What a box is: how wide, how it is coded, how features are pooled from it.

Two conventions: torchvision's current one, and mmdetection 1.x's, which the published ZSI weights were trained with (a
box from x1 to x2 is x2 - x1 + 1 wide, its features are pooled without a shift by half a pixel, and anchors are whole
numbers about the middle of a cell's pixels).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou, nms, roi_align

Name = Literal["torchvision", "mmdet1"]
RATIOS = (0.5, 1.0, 2.0)
_ANCHOR_SCALE = 8  # an anchor's side in strides
_FINEST = 56  # the side in pixels from which a box is pooled from the second map


@dataclass(frozen=True, slots=True)
class BoxConvention:
    """One of the two, by name."""

    name: Name = "torchvision"

    @property
    def extra(self) -> float:
        """What the width of a box is more than x2 - x1."""
        return 1.0 if self.name == "mmdet1" else 0.0

    @property
    def max_log_scale(self) -> float:
        """The largest logarithm by which a delta stretches a box; mmdet1 bounds shrinking as well."""
        return abs(math.log(16 / 1000)) if self.name == "mmdet1" else math.log(1000 / 16)

    def anchors(self, maps: Sequence[Tensor], strides: Sequence[int]) -> list[Tensor]:
        """Return the anchors (H_i * W_i * 3, 4) xyxy of every map (B, C, H_i, W_i), cells row by row."""
        generator = AnchorGenerator(tuple((_ANCHOR_SCALE * stride,) for stride in strides), (RATIOS,) * len(strides))
        if self.name == "mmdet1":
            generator.cell_anchors = [_mmdet_cell(stride) for stride in strides]
        generator.set_cell_anchors(maps[0].dtype, maps[0].device)
        steps = [[torch.tensor(stride, device=maps[0].device)] * 2 for stride in strides]
        return generator.grid_anchors([list(one.shape[-2:]) for one in maps], steps)

    def decode(self, boxes: Tensor, deltas: Tensor, *, stds: Sequence[float], height: float, width: float) -> Tensor:
        """Return boxes (..., 4) xyxy moved by deltas (..., 4), within a picture of `height` x `width` pixels.

        deviations: what the deltas were divided by in training.
        """
        deltas = deltas * deltas.new_tensor(stds)
        shift, stretch = deltas.split(2, -1)
        low = -self.max_log_scale if self.name == "mmdet1" else None
        stretch = stretch.clamp(min=low, max=self.max_log_scale)
        size = boxes[..., 2:] - boxes[..., :2] + self.extra
        if self.name == "mmdet1":
            middle = (boxes[..., :2] + boxes[..., 2:]) * 0.5
        else:
            middle = boxes[..., :2] + 0.5 * size
        middle = middle + size * shift
        size = size * stretch.exp()
        margin = 0.5 * self.extra
        corners = torch.cat([middle - size * 0.5 + margin, middle + size * 0.5 - margin], -1)
        limit = corners.new_tensor([width, height, width, height]) - self.extra
        return corners.clamp(min=0).minimum(limit)

    def encode(self, boxes: Tensor, targets: Tensor, *, stds: Sequence[float]) -> Tensor:
        """Return the deltas (..., 4) that move boxes (..., 4) to targets (..., 4); the inverse of `decode`."""
        size = boxes[..., 2:] - boxes[..., :2] + self.extra
        wanted = targets[..., 2:] - targets[..., :2] + self.extra
        middle, aim = (boxes[..., :2] + boxes[..., 2:]) * 0.5, (targets[..., :2] + targets[..., 2:]) * 0.5
        small = 1e-6
        deltas = torch.cat(
            [(aim - middle) / size.clamp(min=small), (wanted / size.clamp(min=small)).clamp(min=small).log()], -1
        )
        return deltas / deltas.new_tensor(stds)

    def overlaps(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the IoU (N, M) of boxes (N, 4) with boxes (M, 4)."""
        return box_iou(self._full(first), self._full(second))

    def suppress(self, boxes: Tensor, scores: Tensor, *, iou: float) -> Tensor:
        """Return the indices of boxes (N, 4) that no better one overlaps by more than `iou`, best first."""
        return nms(self._full(boxes), scores, iou)

    def levels(self, boxes: Tensor, *, count: int) -> Tensor:
        """Return which of `count` maps, the finest first, boxes (N, 4) are pooled from, (N,) int64.

        Lin et al., "Feature Pyramid Networks" (2017): a box twice as large by the next map.
        """
        sides = self._full(boxes)
        side = ((sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])).clamp(min=0).sqrt()
        return (side / _FINEST + 1e-6).log2().floor().clamp(0, count - 1).long()

    def pool(
        self, maps: Sequence[Tensor], strides: Sequence[int], boxes: Tensor, pictures: Tensor, size: int
    ) -> Tensor:
        """Return features (N, C, size, size) of boxes (N, 4) in the pictures (N,) of maps (B, C, H_i, W_i)."""
        levels = self.levels(boxes, count=len(maps))
        pooled = maps[0].new_zeros((len(boxes), maps[0].shape[1], size, size))
        for level, (one, stride) in enumerate(zip(maps, strides, strict=True)):
            rows = torch.nonzero(levels == level)[:, 0]
            spans = self._full(boxes[rows])
            if self.name == "mmdet1":
                # Unaligned pooling would widen thin boxes to a cell, which mmdetection does not.
                spans = spans + 0.5 * stride
            rois = torch.cat([pictures[rows, None].to(spans.dtype), spans], 1)
            pooled[rows] = roi_align(one, rois, size, spatial_scale=1 / stride, sampling_ratio=2, aligned=True)
        return pooled

    def _full(self, boxes: Tensor) -> Tensor:
        """Return boxes whose width is x2 - x1."""
        return torch.cat([boxes[..., :2], boxes[..., 2:] + self.extra], -1) if self.extra else boxes


def _mmdet_cell(stride: int) -> Tensor:
    """Return mmdetection 1.x's anchors (3, 4) about the middle of the first `stride` pixels, in whole numbers."""
    ratios = torch.tensor(RATIOS, device="cpu").sqrt()
    half = 0.5 * torch.stack([stride / ratios * _ANCHOR_SCALE - 1, stride * ratios * _ANCHOR_SCALE - 1], -1)
    middle = 0.5 * (stride - 1)
    return torch.cat([middle - half, middle + half], -1).round()
