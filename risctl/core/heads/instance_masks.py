"""Masks of boxes: predicted on a grid per box, then pasted into the image.

As in Mask R-CNN (He et al., 2017), the features of a box are sampled to a square of fixed size, so that the head sees
all instances at one scale and learns from few images. The square is then refined once at twice the size with finer
features. Only the selected boxes need masks, so that a further expression costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.visual.shufflenet import activate, point, spread
from risctl.core.heads.roi_ops import sample_boxes

OUTSIDE = -8.0
"""The logit of a pixel outside every selected box."""
_MARGIN = 0.15  # expansion of a box on each side, as detected boxes are too small as often as too large


class MaskFeatures(nn.Module):
    """Merges the backbone's finest map and the neck's maps into one map at stride 4."""

    def __init__(self, fine: int, neck: int, *, levels: int, channels: int) -> None:
        """Builds the module.

        Args:
            fine: Channels of the backbone's finest map.
            neck: Channels of the neck's maps.
            levels: Number of the neck's maps.
            channels: Channels of the result.
        """
        super().__init__()
        self.channels = channels
        self.narrow = nn.ModuleList(point(neck, channels) for _ in range(levels))
        self.own = point(fine, channels)
        self.smooth = nn.ModuleList([spread(channels), point(channels, channels)])

    def forward(self, fine: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Merges maps.

        Args:
            fine: The backbone's finest map (B, C, H, W).
            maps: The neck's maps, finest first.

        Returns:
            (B, channels, H, W).
        """
        joint = self.narrow[0](maps[0])
        for layer, one in zip(self.narrow[1:], maps[1:], strict=False):
            joint = joint + functional.interpolate(
                layer(one), size=joint.shape[-2:], mode="bilinear", align_corners=False
            )
        joint = functional.interpolate(joint, size=fine.shape[-2:], mode="bilinear", align_corners=False)
        joint = activate(joint + self.own(fine))
        return activate(joint + self.smooth[1](self.smooth[0](joint)))


class InstanceMaskHead(nn.Module):
    """Predicts the mask of a box as logits on a square grid with 2 * `grid` cells per side."""

    coordinates: Tensor

    def __init__(self, channels: int, *, grid: int = 28, stride: int = 4) -> None:
        """Builds the head.

        Args:
            channels: Channels of the mask features.
            grid: Cells per side before refinement.
            stride: Stride of the mask features in input pixels.
        """
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
        coordinates = torch.linspace(-1, 1, grid)
        self.register_buffer(
            "coordinates", torch.stack(torch.meshgrid(coordinates, coordinates, indexing="xy"))[None], persistent=False
        )

    def forward(self, features: Tensor, boxes: Tensor, image_indices: Tensor, *, finer: Tensor | None = None) -> Tensor:
        """Predicts masks of boxes, on the square that spans the box expanded by `expand_boxes`.

        Args:
            features: (B, C, H, W).
            boxes: (M, 4) xyxy in input pixels.
            image_indices: (M,), the row of `features` of each box.
            finer: `self.finer(features)` if it is known already.

        Returns:
            Logits (M, 2 * grid, 2 * grid).
        """
        spans, scale = expand_boxes(boxes), 1 / self.stride
        coarse = sample_boxes(features, spans, image_indices, size=self.grid, scale=scale, samples=2)
        finer = self.finer(features) if finer is None else finer
        fine = sample_boxes(finer, spans, image_indices, size=2 * self.grid, scale=scale)
        x = torch.cat([coarse, self.coordinates.to(coarse.dtype).expand(coarse.shape[0], -1, -1, -1)], 1)
        x = activate(self.layers[0](x))
        for layer in self.layers[1:]:
            x = x + activate(layer(x))
        x = functional.interpolate(self.fewer(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.leave(activate(self.refine(activate(x + fine))))[:, 0]


def expand_boxes(boxes: Tensor) -> Tensor:
    """Returns boxes (..., 4) xyxy with the margin of their mask grid on each side."""
    reach = (boxes[..., 2:] - boxes[..., :2]) * _MARGIN
    return torch.cat([boxes[..., :2] - reach, boxes[..., 2:] + reach], -1)


def paste_logits(squares: Tensor, boxes: Tensor, *, height: int, width: int, stride: int) -> Tensor:
    """Pastes mask grids into maps of the image.

    Args:
        squares: Logits (M, G, G).
        boxes: (M, 4) xyxy in input pixels, not expanded.
        height: Rows of a map.
        width: Columns of a map.
        stride: Stride of the maps in input pixels.

    Returns:
        Logits (M, height, width), `OUTSIDE` away from the boxes.
    """
    spans = expand_boxes(boxes)
    x = (torch.arange(width, device=boxes.device) + 0.5) * stride
    y = (torch.arange(height, device=boxes.device) + 0.5) * stride
    across = (x - spans[:, None, 0]) / (spans[:, None, 2] - spans[:, None, 0]).clamp(min=1e-3) * 2 - 1  # (M, W)
    down = (y - spans[:, None, 1]) / (spans[:, None, 3] - spans[:, None, 1]).clamp(min=1e-3) * 2 - 1  # (M, H)
    coordinates = torch.stack(
        [across[:, None, :].expand(-1, height, -1), down[:, :, None].expand(-1, -1, width)], -1
    )  # (M, H, W, 2)
    # `grid_sample` returns zeros outside a grid, so logits are shifted for it by the value of "outside".
    pasted = functional.grid_sample(squares[:, None] - OUTSIDE, coordinates.to(squares.dtype), align_corners=False)
    return pasted[:, 0] + OUTSIDE
