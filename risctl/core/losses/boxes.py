"""Box formats, generalised IoU and the boxes of masks."""

from __future__ import annotations

import torch
from torch import Tensor

_EPSILON = 1e-6


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Converts boxes (..., 4) from (centre x, centre y, width, height) to (left, top, right, bottom)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def generalised_box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Returns the generalised IoU (...) of boxes (..., 4) xyxy (Rezatofighi et al., 2019).

    Numerators and denominators carry ReferFormer's 1e-6, so that empty boxes are defined.
    """
    shared = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    around = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    intersection = shared.clamp(min=0).prod(-1)
    union = _area(first) + _area(second) - intersection
    hull = around.clamp(min=0).prod(-1)
    iou = (intersection + _EPSILON) / (union + _EPSILON)
    return iou - (hull - union + _EPSILON) / (hull + _EPSILON)


def masks_to_cxcywh(masks: Tensor) -> Tensor:
    """Returns the boxes (..., 4) of bool masks (..., H, W) in pixels, as centre and size; zeros for an empty mask."""
    rows, columns = masks.any(-1), masks.any(-2)
    top, bottom = _ends(rows)
    left, right = _ends(columns)
    box = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], dim=-1)
    return box * rows.any(-1, keepdim=True)


def _area(corners: Tensor) -> Tensor:
    return (corners[..., 2:] - corners[..., :2]).prod(-1)


def _ends(present: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the first index and one past the last index of True in (..., N), as float."""
    length = present.shape[-1]
    first = present.float().argmax(-1).float()
    last = length - present.flip(-1).float().argmax(-1).float()
    return first, last
