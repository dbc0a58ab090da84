"""Histograms of the eleven basic colour names within boxes: the appearance that mini's box selector gets.

Colour names instead of learned features, because the words for them are few and always the same. What "in red" refers
to can therefore be learned without images.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from risctl.core.heads.roi_ops import sample_boxes
from risctl.vision.colour_names import NAMES, colour_shares, name_pixels

APPEARANCE = 2 * len(NAMES)
"""Features per box: the shares of the names in its upper half (of a person, the clothes), then in its lower half."""
PARTS = 3 * len(NAMES)
"""Features per box of `colour_parts`: of its upper half, its lower half, and its top, where a person's head is."""
_STRIDE = 4
_CELLS = 8
_GRID = 13  # cells per side that the parts are read from
_PART_ROWS = (slice(3, 8), slice(8, 13), slice(0, 3))


def looks_of(images: Tensor, corners: Tensor, *, count: int) -> Tensor:
    """Returns (B, N, count) features of how boxes look: `APPEARANCE` or `PARTS` of them; arguments as below."""
    return (colour_parts if count == PARTS else colour_histograms)(images, corners)


def colour_parts(images: Tensor, corners: Tensor) -> Tensor:
    """Returns how probable each basic colour name is in the upper half, the lower half and at the top of boxes.

    Only the middle columns are read. The shares of a part sum to 1: names are soft, so that a shirt between blue and
    gray counts for both.

    Args:
        images: (B, 3, H, W), RGB in [0, 1].
        corners: (B, N, 4) boxes, xyxy in pixels.

    Returns:
        (B, N, PARTS).
    """
    batch, count = corners.shape[:2]
    width, height = corners[..., 2] - corners[..., 0], corners[..., 3] - corners[..., 1]
    inner = torch.stack(
        [
            corners[..., 0] + 4 / 14 * width,
            corners[..., 1],
            corners[..., 2] - 4 / 14 * width,
            corners[..., 3] - 1 / 14 * height,
        ],
        -1,
    ).detach()
    image_indices = torch.arange(batch, device=corners.device).repeat_interleave(count)
    smaller = functional.avg_pool2d(images.detach(), 2)
    cells = sample_boxes(smaller, inner.view(-1, 4), image_indices, size=_GRID, scale=1 / 2)
    shares = colour_shares(cells.clamp(0, 1).movedim(1, -1))  # (B N, rows, columns, names)
    parts = torch.stack([shares[:, rows].mean((1, 2)) for rows in _PART_ROWS], 1)
    return parts.reshape(batch, count, PARTS)


def colour_histograms(images: Tensor, corners: Tensor) -> Tensor:
    """Returns the shares of the basic colour names in the upper and lower half of boxes.

    Only the middle columns are read, since a box's sides show the background, and of its rows those from a fifth of its
    height to nearly its end. The shares of a half sum to at most 1; the rest has no certain name.

    Args:
        images: (B, 3, H, W), RGB in [0, 1].
        corners: (B, N, 4) boxes, xyxy in pixels.

    Returns:
        (B, N, APPEARANCE).
    """
    named = name_pixels(images.detach().movedim(1, -1))  # (B, H, W)
    shares = functional.one_hot(named + 1, len(NAMES) + 1)[..., 1:].movedim(-1, 1).float()
    shares = functional.avg_pool2d(shares, _STRIDE)
    batch, count = corners.shape[:2]
    width, height = corners[..., 2] - corners[..., 0], corners[..., 3] - corners[..., 1]
    inner = torch.stack(
        [
            corners[..., 0] + 0.25 * width,
            corners[..., 1] + 0.2 * height,
            corners[..., 2] - 0.25 * width,
            corners[..., 3] - 0.1 * height,
        ],
        -1,
    ).detach()
    image_indices = torch.arange(batch, device=corners.device).repeat_interleave(count)
    cells = sample_boxes(shares, inner.view(-1, 4), image_indices, size=_CELLS, scale=1 / _STRIDE)
    halves = cells.unflatten(2, (2, _CELLS // 2)).mean((3, 4))  # (B N, names, 2)
    return halves.transpose(1, 2).reshape(batch, count, APPEARANCE)
