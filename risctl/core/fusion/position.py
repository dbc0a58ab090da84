"""Position encodings: interleaved sinusoids, and coordinate channels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from risctl.core.blocks import linspace_grid


def sinusoid(length: int, channels: int, *, like: Tensor) -> Tensor:
    """Returns sinusoidal position encodings (Vaswani et al., 2017, section 3.5).

    Even channels hold the sine and odd channels the cosine of position / 10000^(2i / channels), computed in float32
    whatever the dtype of `like`, then cast.

    Args:
        length: Number of positions.
        channels: Number of channels.
        like: A tensor with the wanted dtype and device.

    Returns:
        (length, channels).
    """
    position = torch.arange(length, dtype=torch.float32, device=like.device)[:, None]
    even = torch.arange(0, channels, 2, dtype=torch.float32, device=like.device)
    angle = position * torch.exp(even * (-math.log(10000.0) / channels))
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :channels].to(like.dtype)


def with_coordinates(x: Tensor, *, repeat: int = 3) -> Tensor:
    """Appends coordinate channels to a map, as CoordConv (Liu et al., 2018), repeated as in VLT.

    Args:
        x: (B, C, H, W).
        repeat: How often the x and the y coordinate are repeated.

    Returns:
        (B, C + 2 * repeat, H, W): x, the x coordinates, then the y coordinates, each from -1 to 1.
    """
    columns, rows = linspace_grid(x.shape[2], x.shape[3], like=x)
    coordinates = torch.stack([columns] * repeat + [rows] * repeat)
    return torch.cat([x, coordinates.expand(x.shape[0], -1, -1, -1)], dim=1)
