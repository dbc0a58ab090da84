"""Boxes as tensors: forms, overlaps, and where masks lie."""

from __future__ import annotations

import torch
from torch import Tensor

_EPSILON = 1e-6


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Return (..., 4) as (left, top, right, bottom) of (centre x, centre y, width, height)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def generalised_box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the generalised IoU (...) of boxes (..., 4) given by their corners (Rezatofighi et al. 2019).

    Both fractions carry the 1e-6 that ReferFormer adds above and below, so that empty boxes are defined.
    """
    shared = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    around = torch.maximum(first[..., 2:], second[..., 2:]) - torch.minimum(first[..., :2], second[..., :2])
    intersection = shared.clamp(min=0).prod(-1)
    union = _area(first) + _area(second) - intersection
    hull = around.clamp(min=0).prod(-1)
    iou = (intersection + _EPSILON) / (union + _EPSILON)
    return iou - (hull - union + _EPSILON) / (hull + _EPSILON)


def masks_to_cxcywh(masks: Tensor) -> Tensor:
    """Return (..., 4), centre x, centre y, width and height in pixels, of bool masks (..., H, W); zeros where empty."""
    rows, columns = masks.any(-1), masks.any(-2)
    top, bottom = _ends(rows)
    left, right = _ends(columns)
    box = torch.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], dim=-1)
    return box * rows.any(-1, keepdim=True)


def _area(corners: Tensor) -> Tensor:
    return (corners[..., 2:] - corners[..., :2]).prod(-1)


def _ends(present: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first index and one past the last of the True in (..., N), as float."""
    length = present.shape[-1]
    first = present.float().argmax(-1).float()
    last = length - present.flip(-1).float().argmax(-1).float()
    return first, last
