"""How a box looks, told in the eleven basic colour names: the appearance that the chooser is given.

Names rather than learned features, because the words for them are few and the same everywhere: that "in red" asks for
red can so be learned without pictures.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from risctl.core.heads.roi_ops import sample_boxes
from risctl.vision.colour_names import NAMES, name_pixels

APPEARANCE = 2 * len(NAMES)
"""Numbers a box: the shares of the names in its upper half (of a person, the clothes), then in its lower half."""
_STRIDE = 4
_CELLS = 8


def colour_histograms(images: Tensor, corners: Tensor) -> Tensor:
    """Return (B, N, APPEARANCE) of boxes `corners` (B, N, 4), xyxy in pixels of images (B, 3, H, W), RGB in [0, 1].

    Only the middle columns are looked at, for a box's sides show what is behind. Of a box, rows from a fifth of its
    height to nearly its end; shares of a half sum to at most 1, the rest has no sure name.
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
    pictures = torch.arange(batch, device=corners.device).repeat_interleave(count)
    cells = sample_boxes(shares, inner.view(-1, 4), pictures, size=_CELLS, scale=1 / _STRIDE)
    halves = cells.unflatten(2, (2, _CELLS // 2)).mean((3, 4))  # (B N, names, 2)
    return halves.transpose(1, 2).reshape(batch, count, APPEARANCE)
