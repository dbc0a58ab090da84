"""What boxes see of a map, and which boxes are of one place: `roi_align` and `nms` as torchvision has them.

Written in torch alone, because importing torchvision takes as long as importing torch, and whoever waits for a first
mask would wait for it. He et al., "Mask R-CNN" (2017), section 3.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def sample_boxes(maps: Tensor, boxes: Tensor, pictures: Tensor, *, size: int, scale: float, samples: int = 1) -> Tensor:
    """Return (M, C, size, size): what boxes (M, 4), xyxy, see of `maps` (B, C, H, W), one square a box.

    pictures (M,): the row of `maps` that each box looks at; scale: a map's pixels in the unit of the boxes; samples:
    how many points a cell is the mean of along each axis. A point is interpolated between the four pixels around it;
    beyond the middles of the outermost pixels it has their values, further than a pixel from them zero. Computed in
    float32 under autocast, too. No gradient flows into the boxes.
    """
    if not len(boxes):
        return maps.new_zeros(0, maps.shape[1], size, size)
    height, width = maps.shape[2:]
    spans = boxes.detach().float() * scale
    # Each axis by itself: what a cell sees is a weighted sum of rows of a weighted sum of columns.
    across = _shares(spans[:, 0::2], width, size=size, samples=samples)
    down = _shares(spans[:, 1::2], height, size=size, samples=samples)
    columns, rows = _reach(spans[:, 0::2], width), _reach(spans[:, 1::2], height)
    squares = []
    with torch.autocast(maps.device.type, enabled=False):
        for box, picture in enumerate(pictures.tolist()):
            part = maps[picture, :, rows[box], columns[box]].float()
            squares.append(down[box, :, rows[box]] @ (part @ across[box, :, columns[box]].T))
    return torch.stack(squares).to(maps.dtype)


def nms(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    """Return the indices of the boxes (N, 4), xyxy, that stay, surest first: a box goes if its IoU with a surer one
    that stays is above `overlap`."""
    order = scores.argsort(descending=True, stable=True)
    own = boxes[order]
    low, high = torch.maximum(own[:, None, :2], own[None, :, :2]), torch.minimum(own[:, None, 2:], own[None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (own[:, 2:] - own[:, :2]).prod(-1)
    close = (shared / (areas[:, None] + areas - shared) > overlap).cpu().numpy()
    gone = np.zeros(len(own), dtype=bool)
    kept = []
    for index, row in enumerate(close):
        if not gone[index]:
            kept.append(index)
            gone |= row
    return order[kept]


def _shares(spans: Tensor, length: int, *, size: int, samples: int) -> Tensor:
    """Return (M, size, length): how much each of `length` pixels counts in each cell of spans (M, 2) on one axis."""
    steps = (torch.arange(size * samples, device=spans.device) + 0.5) / (size * samples)
    places = spans[:, :1] + (spans[:, 1:] - spans[:, :1]) * steps - 0.5  # (M, S), 0 is the first pixel's middle
    near = ((places >= -1) & (places <= length)).float()
    away = places.clamp(0, length - 1)[..., None] - torch.arange(length, device=spans.device)
    return ((1 - away.abs()).clamp(min=0) * near[..., None]).unflatten(1, (size, samples)).mean(2)


def _reach(spans: Tensor, length: int) -> list[slice]:
    """Return the pixels that the cells of each span (M, 2) look at, one at least."""
    first = (spans[:, 0] - 0.5).floor().clamp(0, length - 1)
    last = torch.maximum((spans[:, 1] + 1.5).floor().clamp(max=length), first + 1)
    return [slice(int(low), int(high)) for low, high in torch.stack([first, last], 1).tolist()]
