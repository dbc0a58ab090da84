"""Masks of found boxes: each box is looked at on its own grid, then laid back on the picture.

As in Mask R-CNN (He et al., 2017), a box's part of the feature map is sampled to a square of fixed size, so that the
head sees all things equally large and learns from few pictures; the square is then refined once at twice the size
with the finer map. Only boxes that were chosen need masks, so one more phrase costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.visual.shufflenet import activate, point, spread
from risctl.core.heads.roi_ops import sample_boxes

OUTSIDE = -8.0
"""The logit of a pixel far from every chosen box."""
_MARGIN = 0.15  # the share by which a box is enlarged on each side, for boxes are found too small as often as too large


class MaskFeatures(nn.Module):
    """One map at stride 4 out of the backbone's finest map and the neck's maps."""

    def __init__(self, fine: int, neck: int, *, levels: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.narrow = nn.ModuleList(point(neck, channels) for _ in range(levels))
        self.own = point(fine, channels)
        self.smooth = nn.ModuleList([spread(channels), point(channels, channels)])

    def forward(self, fine: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Map the finest map (B, C, H, W) and the neck's, finest first, to (B, channels, H, W)."""
        joint = self.narrow[0](maps[0])
        for layer, one in zip(self.narrow[1:], maps[1:], strict=False):
            joint = joint + functional.interpolate(
                layer(one), size=joint.shape[-2:], mode="bilinear", align_corners=False
            )
        joint = functional.interpolate(joint, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        joint = activate(joint + self.own(fine))
        return activate(joint + self.smooth[1](self.smooth[0](joint)))


class InstanceMaskHead(nn.Module):
    """The mask of each box as logits on a square grid of 2 `grid` cells a side."""

    places: Tensor

    def __init__(self, channels: int, *, grid: int = 28, stride: int = 4) -> None:
        super().__init__()
        self.grid = grid
        self.stride = stride
        dilations = (1, 2, 4, 1)
        self.layers = nn.ModuleList(
            nn.Conv2d(channels + (2 if first == 0 else 0), channels, 3, padding=dilation, dilation=dilation)
            for first, dilation in enumerate(dilations)
        )
        self.fewer = point(channels, channels // 2)
        self.finer = point(channels, channels // 2)
        self.refine = nn.Conv2d(channels // 2, channels // 2, 3, padding=1)
        self.leave = point(channels // 2, 1)
        places = torch.linspace(-1, 1, grid)
        self.register_buffer(
            "places", torch.stack(torch.meshgrid(places, places, indexing="xy"))[None], persistent=False
        )

    def forward(self, features: Tensor, boxes: Tensor, pictures: Tensor, *, finer: Tensor | None = None) -> Tensor:
        """Return logits (M, 2 grid, 2 grid) of boxes (M, 4), xyxy in input pixels, of the pictures (M,) of `features`
        (B, C, H, W). The square spans the box enlarged by `expand_boxes`. finer: `self.finer(features)` where that is
        known already."""
        spans, scale = expand_boxes(boxes), 1 / self.stride
        coarse = sample_boxes(features, spans, pictures, size=self.grid, scale=scale, samples=2)
        finer = self.finer(features) if finer is None else finer
        fine = sample_boxes(finer, spans, pictures, size=2 * self.grid, scale=scale)
        x = torch.cat([coarse, self.places.to(coarse.dtype).expand(len(coarse), -1, -1, -1)], 1)
        x = activate(self.layers[0](x))
        for layer in self.layers[1:]:
            x = x + activate(layer(x))
        x = functional.interpolate(self.fewer(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.leave(activate(self.refine(activate(x + fine))))[:, 0]


def expand_boxes(boxes: Tensor) -> Tensor:
    """Return boxes (..., 4) xyxy with the margin that a mask's square has around them."""
    reach = (boxes[..., 2:] - boxes[..., :2]) * _MARGIN
    return torch.cat([boxes[..., :2] - reach, boxes[..., 2:] + reach], -1)


def paste_logits(squares: Tensor, boxes: Tensor, *, height: int, width: int, stride: int) -> Tensor:
    """Return logits (M, height, width) of a map of `stride` for the logits `squares` (M, G, G) of boxes (M, 4)."""
    spans = expand_boxes(boxes)
    x = (torch.arange(width, device=boxes.device) + 0.5) * stride
    y = (torch.arange(height, device=boxes.device) + 0.5) * stride
    across = (x - spans[:, None, 0]) / (spans[:, None, 2] - spans[:, None, 0]).clamp(min=1e-3) * 2 - 1  # (M, W)
    down = (y - spans[:, None, 1]) / (spans[:, None, 3] - spans[:, None, 1]).clamp(min=1e-3) * 2 - 1  # (M, H)
    places = torch.stack(
        [across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], -1
    )  # (M, H, W, 2)
    # Outside a square the sampling gives zeros, so the logits are lifted for it by what stands for "outside".
    laid = functional.grid_sample(squares[:, None] - OUTSIDE, places.to(squares.dtype), align_corners=False)
    return laid[:, 0] + OUTSIDE
