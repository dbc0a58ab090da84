"""Conventions for boxes: their width, their coding as deltas, their anchors, and how features are pooled from them.

There are two: torchvision's current one, and that of mmdetection 1.x, used by the published ZSI weights.
In the latter a box from x1 to x2 is x2 - x1 + 1 wide, features are pooled without a shift by half a pixel, and anchors
have integer coordinates around the centre of a cell's pixels.
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
_ANCHOR_SCALE = 8  # side of an anchor in strides
_FINEST = 56  # side in pixels from which a box is pooled from the second level


@dataclass(frozen=True, slots=True)
class BoxConvention:
    """One of the two conventions, by name.

    Attributes:
        name: "torchvision" or "mmdet1".
    """

    name: Name = "torchvision"

    @property
    def extra(self) -> float:
        """How much a box is wider than x2 - x1, in pixels."""
        return 1.0 if self.name == "mmdet1" else 0.0

    @property
    def max_log_scale(self) -> float:
        """The largest log scale of a delta; "mmdet1" bounds shrinking as well."""
        return abs(math.log(16 / 1000)) if self.name == "mmdet1" else math.log(1000 / 16)

    def anchors(self, maps: Sequence[Tensor], strides: Sequence[int]) -> list[Tensor]:
        """Returns the anchors of every level.

        Args:
            maps: (B, C, H_i, W_i), one per level.
            strides: Stride of each level in input pixels.

        Returns:
            (H_i * W_i * 3, 4) xyxy per level, cells in row order.
        """
        generator = AnchorGenerator(tuple((_ANCHOR_SCALE * stride,) for stride in strides), (RATIOS,) * len(strides))
        if self.name == "mmdet1":
            generator.cell_anchors = [_mmdet_cell(stride) for stride in strides]
        # Never in half precision, whose eight bits would round coordinates to several pixels.
        generator.set_cell_anchors(torch.promote_types(maps[0].dtype, torch.float32), maps[0].device)
        steps = [[torch.tensor(stride, device=maps[0].device)] * 2 for stride in strides]
        return generator.grid_anchors([list(feature_map.shape[-2:]) for feature_map in maps], steps)

    def decode(self, boxes: Tensor, deltas: Tensor, *, stds: Sequence[float], height: float, width: float) -> Tensor:
        """Applies deltas to boxes and clips the result to the image.

        Args:
            boxes: (..., 4) xyxy in input pixels.
            deltas: (..., 4).
            stds: What the deltas were divided by in training.
            height: Height of the image in input pixels.
            width: Width of the image in input pixels.

        Returns:
            (..., 4) xyxy.
        """
        deltas = deltas * deltas.new_tensor(stds)
        shift, stretch = deltas.split(2, -1)
        low = -self.max_log_scale if self.name == "mmdet1" else None
        stretch = stretch.clamp(min=low, max=self.max_log_scale)
        size = boxes[..., 2:] - boxes[..., :2] + self.extra
        if self.name == "mmdet1":
            centre = (boxes[..., :2] + boxes[..., 2:]) * 0.5
        else:
            centre = boxes[..., :2] + 0.5 * size
        centre = centre + size * shift
        size = size * stretch.exp()
        margin = 0.5 * self.extra
        corners = torch.cat([centre - size * 0.5 + margin, centre + size * 0.5 - margin], -1)
        limit = corners.new_tensor([width, height, width, height]) - self.extra
        return corners.clamp(min=0).minimum(limit)

    def encode(self, boxes: Tensor, targets: Tensor, *, stds: Sequence[float]) -> Tensor:
        """Returns the deltas (..., 4) from boxes (..., 4) to targets (..., 4); the inverse of `decode`."""
        size = boxes[..., 2:] - boxes[..., :2] + self.extra
        target_size = targets[..., 2:] - targets[..., :2] + self.extra
        centre, target_centre = (boxes[..., :2] + boxes[..., 2:]) * 0.5, (targets[..., :2] + targets[..., 2:]) * 0.5
        small = 1e-6
        deltas = torch.cat(
            [
                (target_centre - centre) / size.clamp(min=small),
                (target_size / size.clamp(min=small)).clamp(min=small).log(),
            ],
            -1,
        )
        return deltas / deltas.new_tensor(stds)

    def iou(self, first: Tensor, second: Tensor) -> Tensor:
        """Returns the IoU (N, M) of boxes (N, 4) and boxes (M, 4)."""
        return box_iou(self._full(first), self._full(second))

    def nms(self, boxes: Tensor, scores: Tensor, *, iou_threshold: float) -> Tensor:
        """Returns the indices of the boxes that non-maximum suppression keeps, by falling score.

        Args:
            boxes: (N, 4) xyxy.
            scores: (N,).
            iou_threshold: Overlap above which the lower-scored of two boxes is suppressed.
        """
        return nms(self._full(boxes), scores, iou_threshold)

    def levels(self, boxes: Tensor, *, count: int) -> Tensor:
        """Returns the level that each box is pooled from, (N,) int64.

        A level holds boxes of twice the size of the one before (Lin et al., "Feature Pyramid Networks", 2017, eq. 1).

        Args:
            boxes: (N, 4) xyxy in input pixels.
            count: Number of levels, finest first.
        """
        sides = self._full(boxes)
        side = ((sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])).clamp(min=0).sqrt()
        return (side / _FINEST + 1e-6).log2().floor().clamp(0, count - 1).long()

    def pool(
        self, maps: Sequence[Tensor], strides: Sequence[int], boxes: Tensor, image_indices: Tensor, size: int
    ) -> Tensor:
        """Pools the features of boxes, each from the level of its size.

        Args:
            maps: (B, C, H_i, W_i), one per level.
            strides: Stride of each level in input pixels.
            boxes: (N, 4) xyxy in input pixels.
            image_indices: (N,), the image of each box.
            size: Side of the pooled square in cells.

        Returns:
            (N, C, size, size).
        """
        levels = self.levels(boxes, count=len(maps))
        pooled = maps[0].new_zeros((len(boxes), maps[0].shape[1], size, size))
        for level, (one, stride) in enumerate(zip(maps, strides, strict=True)):
            rows = torch.nonzero(levels == level)[:, 0]
            spans = self._full(boxes[rows])
            if self.name == "mmdet1":
                # Unaligned pooling would widen thin boxes to one cell; mmdetection does not.
                spans = spans + 0.5 * stride
            rois = torch.cat([image_indices[rows, None].to(spans.dtype), spans], 1)
            pooled[rows] = roi_align(one, rois, size, spatial_scale=1 / stride, sampling_ratio=2, aligned=True)
        return pooled

    def _full(self, boxes: Tensor) -> Tensor:
        """Returns boxes whose width is x2 - x1."""
        return torch.cat([boxes[..., :2], boxes[..., 2:] + self.extra], -1) if self.extra else boxes


def _mmdet_cell(stride: int) -> Tensor:
    """Returns mmdetection 1.x's integer anchors (3, 4) around the centre of the first `stride` pixels."""
    ratios = torch.tensor(RATIOS, device="cpu").sqrt()
    half = 0.5 * torch.stack([stride / ratios * _ANCHOR_SCALE - 1, stride * ratios * _ANCHOR_SCALE - 1], -1)
    centre = 0.5 * (stride - 1)
    return torch.cat([centre - half, centre + half], -1).round()
