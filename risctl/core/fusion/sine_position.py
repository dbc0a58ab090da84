"""Sine position encodings of maps (2-D) and texts (1-D) that skip padding, as in DETR and ReferFormer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_EPSILON = 1e-6
_TEMPERATURE = 10_000.0


def sine_position_2d(padding: Tensor, *, channels: int, shift: float = 0.5) -> Tensor:
    """Returns position encodings of maps: half of the channels for y, then half for x.

    A cell's coordinate is its place as a fraction of the image's own extent, times 2π. In rows and columns that are
    all padding the published code divides by 1e-6, which amplifies rounding errors; this function does the same, so
    that published weights see the values of their training.

    Args:
        padding: (B, H, W) bool, True outside the image.
        channels: Number of channels.
        shift: How far before its end a cell's place lies: 0.5 for its centre, as in Deformable DETR; 0 for its end, as
            in DETR and Mask2Former.

    Returns:
        (B, channels, H, W).
    """
    present = ~padding
    y = _share(present.cumsum(1, dtype=torch.float32), axis=1, shift=shift)
    x = _share(present.cumsum(2, dtype=torch.float32), axis=2, shift=shift)
    return torch.cat([_waves(y, channels // 2), _waves(x, channels // 2)], dim=3).permute(0, 3, 1, 2)


def sine_position_1d(mask: Tensor, *, channels: int) -> Tensor:
    """Returns position encodings of texts.

    As in 2-D, but a word's coordinate is its end, not its centre.

    Args:
        mask: (B, L), True where a word is.
        channels: Number of channels.

    Returns:
        (B, L, channels).
    """
    return _waves(_share(mask.cumsum(1, dtype=torch.float32), axis=1), channels)


def _share(ends: Tensor, *, axis: int, shift: float = 0.0) -> Tensor:
    last = ends.select(axis, -1).unsqueeze(axis)
    return (ends - shift) / (last + _EPSILON) * (2 * math.pi)


def _waves(coordinate: Tensor, channels: int) -> Tensor:
    """Returns (..., channels) of coordinates (...): sine and cosine of growing wavelengths, interleaved."""
    index = torch.arange(channels, dtype=torch.float32, device=coordinate.device)
    period = _TEMPERATURE ** (2 * torch.div(index, 2, rounding_mode="floor") / channels)
    angle = coordinate[..., None] / period
    return torch.stack([angle[..., 0::2].sin(), angle[..., 1::2].cos()], dim=-1).flatten(-2)
