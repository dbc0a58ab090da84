"""Partitions clips into windows and back, and masks the cells of shifted windows (Swin, Video Swin)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

Extent = tuple[int, int, int]
"""Frames, rows, columns."""

_APART = -100.0
"""Added to the attention scores of cells that only the shift brings together, as published."""


def cut_windows(clip: Tensor, window: Extent) -> Tensor:
    """Partitions a clip (B, T, H, W, C), sides multiples of the window's, into windows (B, W, N, C)."""
    batch, frames, height, width, channels = clip.shape
    depth, rows, columns = window
    cut = clip.view(batch, frames // depth, depth, height // rows, rows, width // columns, columns, channels)
    return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch, -1, depth * rows * columns, channels)


def join_windows(windows: Tensor, window: Extent, extent: Extent) -> Tensor:
    """Reverses `cut_windows`: windows (B, W, N, C) to the clip (B, T, H, W, C) of `extent`."""
    batch, channels = windows.shape[0], windows.shape[-1]
    counts = [size // side for size, side in zip(extent, window, strict=True)]
    return (
        windows.view(batch, *counts, *window, channels)
        .permute(0, 1, 4, 2, 5, 3, 6, 7)
        .reshape(batch, *extent, channels)
    )


def table_rows(window: Extent) -> int:
    """Returns the number of relative positions within a window."""
    depth, rows, columns = window
    return (2 * depth - 1) * (2 * rows - 1) * (2 * columns - 1)


def relative_index(window: Extent) -> Tensor:
    """Returns the row of the bias table for each pair of cells of a window, int64 (N, N)."""
    axes = [torch.arange(size) for size in window]
    positions = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)  # (3, N)
    apart = positions[:, :, None] - positions[:, None, :] + torch.tensor(window)[:, None, None] - 1
    _, rows, columns = (2 * size - 1 for size in window)
    return (apart[0] * rows + apart[1]) * columns + apart[2]


def missing_frames(frames: int, window: Extent, *, device: torch.device) -> Tensor:
    """Returns the attention bias of windows of which only the first `frames` frames are there, float32 (N,)."""
    absent = torch.arange(window[0], device=device) >= frames
    of_cells = absent[:, None].expand(-1, window[1] * window[2]).flatten()
    return torch.zeros_like(of_cells, dtype=torch.float32).masked_fill(of_cells, float("-inf"))


@lru_cache(maxsize=16)
def region_bias(extent: Extent, window: Extent, shift: Extent, *, device: torch.device) -> Tensor:
    """Returns the attention bias of shifted windows, float32 (W, N, N).

    It is 0 between cells of one region, and -100 between cells that only the shift brought together. An axis of the
    padded clip of `extent` has up to three regions: before the last window, in it, and the part rolled around.
    """
    regions = torch.zeros(extent, device=device)
    for axis, (size, side, step) in enumerate(zip(extent, window, shift, strict=True)):
        index = torch.arange(size, device=device)
        region = (index >= size - side).float() + (index >= size - step).float() if step else torch.zeros_like(index)
        regions = 3 * regions + region.view([-1 if one == axis else 1 for one in range(3)])
    cells = cut_windows(regions[None, ..., None], window)[0, :, :, 0]  # (W, N)
    return (cells[:, None, :] != cells[:, :, None]).float() * _APART
