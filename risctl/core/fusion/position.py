"""Where a cell or a word stands: interleaved sinusoids, and coordinate channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from risctl.core.blocks import linspace_grid


def sinusoid(length: int, channels: int, *, like: Tensor) -> Tensor:
    """Return (length, channels): sin in even, cos in odd channels, of position / 10000^(2i / channels).

    Vaswani et al. 2017, section 3.5. Computed in float32 whatever the precision of `like`, then cast.
    """
    position = torch.arange(length, dtype=torch.float32, device=like.device)[:, None]
    even = torch.arange(0, channels, 2, dtype=torch.float32, device=like.device)
    angle = position * torch.exp(even * (-math.log(10000.0) / channels))
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :channels].to(like.dtype)


def with_coordinates(x: Tensor, *, repeat: int = 3) -> Tensor:
    """Append to x (B, C, H, W) its x coordinate `repeat` times, then y, each from -1 to 1: (B, C + 2 repeat, H, W).

    CoordConv (Liu et al. 2018) with the coordinates repeated, as VLT has it.
    """
    columns, rows = linspace_grid(x.shape[2], x.shape[3], like=x)
    coordinates = torch.stack([columns] * repeat + [rows] * repeat)
    return torch.cat([x, coordinates.expand(x.shape[0], -1, -1, -1)], dim=1)
