"""Windows of clips: cut, joined, and which cells of a shifted window may see each other (Swin, Video Swin)."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

Extent = tuple[int, int, int]
"""Frames, rows, columns."""

_APART = -100.0
"""Added to the scores of cells that no shift should bring together, as published."""


def cut_windows(clip: Tensor, window: Extent) -> Tensor:
    """Return (B, W, N, C) of a clip (B, T, H, W, C) whose sides are multiples of the window's."""
    batch, frames, height, width, channels = clip.shape
    depth, rows, columns = window
    cut = clip.view(batch, frames // depth, depth, height // rows, rows, width // columns, columns, channels)
    return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(batch, -1, depth * rows * columns, channels)


def join_windows(windows: Tensor, window: Extent, extent: Extent) -> Tensor:
    """Return the clip (B, T, H, W, C) of `extent` that `cut_windows` cut into (B, W, N, C)."""
    batch, channels = windows.shape[0], windows.shape[-1]
    counts = [size // side for size, side in zip(extent, window, strict=True)]
    return (
        windows.view(batch, *counts, *window, channels)
        .permute(0, 1, 4, 2, 5, 3, 6, 7)
        .reshape(batch, *extent, channels)
    )


def table_rows(window: Extent) -> int:
    """Return how many relative places there are within a window."""
    depth, rows, columns = window
    return (2 * depth - 1) * (2 * rows - 1) * (2 * columns - 1)


def relative_index(window: Extent) -> Tensor:
    """Return (N, N) int64: the row of the table for each pair of cells of a window."""
    axes = [torch.arange(size) for size in window]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij")).flatten(1)  # (3, N)
    apart = places[:, :, None] - places[:, None, :] + torch.tensor(window)[:, None, None] - 1
    _, rows, columns = (2 * size - 1 for size in window)
    return (apart[0] * rows + apart[1]) * columns + apart[2]


@lru_cache(maxsize=16)
def region_bias(extent: Extent, window: Extent, shift: Extent, *, device: torch.device) -> Tensor:
    """Return (W, N, N) float32: 0 for cells of one region, -100 for cells that the shift brought together.

    extent: of the padded clip. An axis has up to three regions: before the last window, in it, and what came round.
    """
    regions = torch.zeros(extent, device=device)
    for axis, (size, side, step) in enumerate(zip(extent, window, shift, strict=True)):
        place = torch.arange(size, device=device)
        region = (place >= size - side).float() + (place >= size - step).float() if step else torch.zeros_like(place)
        regions = 3 * regions + region.view([-1 if one == axis else 1 for one in range(3)])
    cells = cut_windows(regions[None, ..., None], window)[0, :, :, 0]  # (W, N)
    return (cells[:, None, :] != cells[:, :, None]).float() * _APART
