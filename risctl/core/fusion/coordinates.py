"""The 8-d spatial coordinates of the text_objseg family: where a cell lies, and how large it is."""

from __future__ import annotations

import torch
from torch import Tensor


def spatial_coordinates(height: int, width: int, *, rows: Tensor, columns: Tensor, unit: bool = False) -> Tensor:
    """Return (B, 8, height, width): xmin, ymin, xmax, ymax, xctr, yctr, 1/W, 1/H of each cell.

    rows (B,) and columns (B,), floating point: H and W, the cells that a row's own picture covers from the top left, so
    that a picture has the same coordinates in whatever batch; for a whole map they are `height` and `width`. Column w
    reaches from 2 w / W - 1 to 2 (w + 1) / W - 1; unit: from w / W to (w + 1) / W.
    """
    down, across = rows[:, None, None], columns[:, None, None]
    y = torch.arange(height, dtype=rows.dtype, device=rows.device)[None, :, None]
    x = torch.arange(width, dtype=rows.dtype, device=rows.device)[None, None, :]
    places = (
        2 * x / across - 1,
        2 * y / down - 1,
        2 * (x + 1) / across - 1,
        2 * (y + 1) / down - 1,
        (2 * x + 1) / across - 1,
        (2 * y + 1) / down - 1,
    )
    parts = (*((place + 1) / 2 if unit else place for place in places), 1 / across, 1 / down)
    return torch.stack([part.expand(len(rows), height, width) for part in parts], dim=1)
