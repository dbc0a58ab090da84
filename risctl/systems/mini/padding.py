"""Where the image lies in mini's input, read from the padding."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def extents_of(padding: Tensor) -> Tensor:
    """Returns (B, 4): left, top, right and bottom of the image within the input, in pixels, from padding (B, H, W)."""
    inside = (~padding).float()
    columns, rows = inside.amax(1), inside.amax(2)
    width, height = columns.shape[1], rows.shape[1]
    left, top = columns.argmax(1), rows.argmax(1)
    right, bottom = width - columns.flip(1).argmax(1), height - rows.flip(1).argmax(1)
    return torch.stack([left, top, right, bottom], 1).float()


def padded_cells(padding: Tensor, height: int, width: int) -> Tensor:
    """Returns (B, height, width) bool: cells that are entirely padding."""
    return functional.adaptive_max_pool2d((~padding).float()[:, None], (height, width))[:, 0] == 0
