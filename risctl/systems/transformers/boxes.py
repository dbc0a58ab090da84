"""Answers with the boxes that a detector finds: which make up the answer, and their area as a mask."""

from __future__ import annotations

import torch
from torch import Tensor

from risctl.core.losses.boxes import cxcywh_to_xyxy

_INSIDE = 10.0  # logit of a pixel in a box


def chosen(scores: Tensor, *, min_score: float) -> Tensor:
    """Returns which predictions make up each answer, bool (N, Q): the best one, and all that score `min_score`."""
    best = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, scores.argmax(1, keepdim=True), True)
    return best | (scores >= min_score)


@torch.no_grad()
def areas(boxes: Tensor, taken: Tensor, padding: Tensor) -> Tensor:
    """Returns logits (N, H, W) that are high within the chosen boxes.

    Args:
        boxes: (N, Q, 4), centre and size, in [0, 1] of each image without its padding.
        taken: Bool (N, Q).
        padding: Bool (N, H, W), True right of the images and below.
    """
    height, width = padding.shape[-2:]
    inner = torch.stack([(~padding).any(1).sum(1), (~padding).any(2).sum(1)], 1).float()  # width, height
    corners = cxcywh_to_xyxy(boxes.float()) * inner.repeat(1, 2)[:, None]
    rows = torch.arange(height, device=boxes.device) + 0.5
    columns = torch.arange(width, device=boxes.device) + 0.5
    logits = boxes.new_full((len(boxes), height, width), -_INSIDE, dtype=torch.float32)
    for row, (own, kept) in enumerate(zip(corners, taken, strict=True)):
        for left, top, right, bottom in own[kept].tolist():
            # No slices: a box narrower than a pixel still has the pixel that its centre is in.
            down = (rows > min(top, (top + bottom) / 2 - 0.5)) & (rows < max(bottom, (top + bottom) / 2 + 0.5))
            across = (columns > min(left, (left + right) / 2 - 0.5)) & (columns < max(right, (left + right) / 2 + 0.5))
            logits[row][down[:, None] & across] = _INSIDE
    return logits
