"""The 8-dimensional spatial coordinates of the text_objseg family: the extent of a cell and its size."""

from __future__ import annotations

import torch
from torch import Tensor


def spatial_coordinates(height: int, width: int, *, rows: Tensor, columns: Tensor, unit: bool = False) -> Tensor:
    """Returns xmin, ymin, xmax, ymax, x centre, y centre, 1 / W and 1 / H of each cell.

    H and W are those of a row's own image, so that an image has the same coordinates in every batch.

    Args:
        height: Rows of the map.
        width: Columns of the map.
        rows: (B,) floating point: H, the rows that the image of each batch row covers, from the top.
        columns: (B,) floating point: W, the columns that it covers, from the left.
        unit: Whether coordinates run from 0 to 1 over the image instead of -1 to 1.

    Returns:
        (B, 8, height, width).
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
    return torch.stack([part.expand(rows.shape[0], height, width) for part in parts], dim=1)
