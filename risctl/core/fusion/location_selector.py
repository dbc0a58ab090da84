"""Selects among detected boxes by the location words of an expression: "the second zebra from the left"."""

from __future__ import annotations

import torch
from torch import Tensor

from risctl.core.encoders.text.query_word import SIDE_NAMES

_SCORE_RATIO = 0.7  # a box of this share of the best score is another instance of the named category


def select_by_location(boxes: Tensor, scores: Tensor, place: Tensor, *, height: int, width: int) -> int:
    """Returns the index of the box that an expression refers to.

    Only boxes whose score is near the best are considered. If no side is named, the best box is selected, and "second"
    counts from the left.

    Args:
        boxes: (N, 4) xyxy in pixels, by falling score.
        scores: (N,).
        place: (8,) which of `SIDE_NAMES` are named, and the rank counted from 1, as `QueryWordEmbedding` returns them.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
    """
    sides, rank = place[:-1], int(place[-1])
    if not sides.any():
        if rank == 1:
            return 0
        sides = place.new_tensor([float(name == "left") for name in SIDE_NAMES])
    good = int((scores >= _SCORE_RATIO * scores[0]).sum()) if scores[0] > 0 else 1
    left, top, right, bottom = (boxes[:good] / boxes.new_tensor([width, height, width, height])).unbind(1)
    x, y, area = (left + right) / 2, (top + bottom) / 2, (right - left) * (bottom - top)
    wishes = {
        "left": -x,
        "right": x,
        "top": -y,
        "bottom": y,
        "middle": -(x - 0.5).abs(),
        "large": area,
        "small": -area,
    }
    order = (sides @ torch.stack([wishes[name] for name in SIDE_NAMES])).argsort(descending=True, stable=True)
    return int(order[min(rank, good) - 1])
