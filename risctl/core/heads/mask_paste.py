"""Pastes square masks into the image: at sub-pixel positions, or at whole pixels as mmdetection 1.x does."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.models.detection.roi_heads import paste_masks_in_image

from risctl.core.heads.box_conventions import BoxConvention


def paste(squares: Tensor, boxes: Tensor, *, height: int, width: int, conventions: BoxConvention) -> Tensor:
    """Pastes masks of boxes.

    Args:
        squares: Probabilities (N, S, S).
        boxes: (N, 4) xyxy in pixels.
        height: Height of the image.
        width: Width of the image.
        conventions: How boxes are measured.

    Returns:
        Probabilities (N, height, width).
    """
    if conventions.name != "mmdet1":
        if not len(squares):
            return squares.new_zeros((0, height, width))
        return paste_masks_in_image(squares[:, None], boxes, (height, width), padding=1)[:, 0]
    pasted = squares.new_zeros((len(squares), height, width))
    for one, square, (left, top, right, bottom) in zip(pasted, squares, boxes.int().tolist(), strict=True):
        # OpenCV's bilinear resize is torch's without antialiasing.
        size = (max(bottom - top + 1, 1), max(right - left + 1, 1))
        scaled = functional.interpolate(square[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        inside = one[max(top, 0) : bottom + 1, max(left, 0) : right + 1]
        inside.copy_(scaled[max(-top, 0) :, max(-left, 0) :][: inside.shape[0], : inside.shape[1]])
    return pasted


def mask_logits(squares: Tensor) -> Tensor:
    """Returns the logits of probabilities, bounded so that they stay finite."""
    return torch.logit(squares, eps=1e-4)
