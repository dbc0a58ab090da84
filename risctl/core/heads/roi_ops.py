"""RoI sampling and non-maximum suppression, equal to torchvision's `roi_align` and `nms`.

Written in plain torch, because importing torchvision takes as long as importing torch and would delay a first mask by
that. He et al., "Mask R-CNN" (2017), section 3.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def sample_boxes(
    maps: Tensor, boxes: Tensor, image_indices: Tensor, *, size: int, scale: float, samples: int = 1
) -> Tensor:
    """Samples a square of features per box, as RoIAlign.

    A sample is interpolated bilinearly between the four pixels around it. Beyond the centres of the outermost pixels it
    repeats their values, and more than a pixel away from them it is zero. Computed in float32, also under autocast. No
    gradient flows into the boxes.

    Args:
        maps: (B, C, H, W).
        boxes: (M, 4) xyxy.
        image_indices: (M,), the row of `maps` of each box.
        size: Side of the square in cells.
        scale: Map pixels per unit of the boxes.
        samples: Samples per cell and axis, which are averaged.

    Returns:
        (M, C, size, size).
    """
    height, width = maps.shape[2:]
    spans = boxes.detach().float() * scale
    if torch.compiler.is_compiling():  # an exported graph has no loop over boxes
        return _gathered(maps, spans, image_indices, size=size, samples=samples)
    # The axes are separable: a cell is a weighted sum of rows of weighted sums of columns.
    across = _pixel_weights(spans[:, 0::2], width, size=size, samples=samples)
    down = _pixel_weights(spans[:, 1::2], height, size=size, samples=samples)
    if not len(boxes):
        return maps.new_zeros(0, maps.shape[1], size, size)
    columns, rows = _pixel_ranges(spans[:, 0::2], width), _pixel_ranges(spans[:, 1::2], height)
    squares = []
    with torch.autocast(maps.device.type, enabled=False):
        for box, index in enumerate(image_indices.tolist()):
            part = maps[index, :, rows[box], columns[box]].float()
            squares.append(down[box, :, rows[box]] @ (part @ across[box, :, columns[box]].T))
    return torch.stack(squares).to(maps.dtype)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Returns the indices of the boxes that non-maximum suppression keeps, by falling score.

    Args:
        boxes: (N, 4) xyxy.
        scores: (N,).
        iou_threshold: Overlap above which the lower-scored of two boxes is suppressed.
    """
    order = scores.argsort(descending=True, stable=True)
    sorted_boxes = boxes[order]
    low, high = (
        torch.maximum(sorted_boxes[:, None, :2], sorted_boxes[None, :, :2]),
        torch.minimum(sorted_boxes[:, None, 2:], sorted_boxes[None, :, 2:]),
    )
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (sorted_boxes[:, 2:] - sorted_boxes[:, :2]).prod(-1)
    close = (shared / (areas[:, None] + areas - shared) > iou_threshold).cpu().numpy()
    suppressed = np.zeros(len(sorted_boxes), dtype=bool)
    kept = []
    for index, row in enumerate(close):
        if not suppressed[index]:
            kept.append(index)
            suppressed |= row
    return order[kept]


def nms_ordered(boxes: Tensor, valid: Tensor, iou_threshold: float, *, rounds: int = 24) -> Tensor:
    """Returns which boxes non-maximum suppression keeps, bool (B, N), without a loop over boxes: for exported graphs.

    Whether a box is kept depends on the better ones near it. After a round the first box is decided, after the next
    those that only it can suppress, and so on. `rounds` is thus the longest chain of boxes, each suppressing the next,
    that is decided rightly; in photographs chains have fewer than ten.

    Args:
        boxes: (B, N, 4) xyxy, by falling score.
        valid: (B, N) bool; other boxes are neither kept nor suppress any.
        iou_threshold: Overlap above which the lower-scored of two boxes is suppressed.
        rounds: How often the decisions are revised.
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    close = shared / (areas[:, :, None] + areas[:, None] - shared) > iou_threshold
    number = torch.arange(boxes.shape[1], device=boxes.device)
    suppresses = (close & (number[:, None] < number[None])).to(boxes.dtype)  # (B, better, worse)
    given = valid.to(boxes.dtype)[:, None]
    kept = given
    for _ in range(rounds):  # one that is suppressed by k others becomes 1 - k, and is thus 0
        kept = (given - kept @ suppresses).relu()
    return kept[:, 0] > 0.5


def _gathered(maps: Tensor, spans: Tensor, image_indices: Tensor, *, size: int, samples: int) -> Tensor:
    """Samples as `sample_boxes` does, by reading the four pixels around each sample and no others.

    Args:
        maps: (B, C, H, W).
        spans: (M, 4) boxes, xyxy in pixels of the maps.
        image_indices: (M,).
        size: As in `sample_boxes`.
        samples: As in `sample_boxes`.

    Returns:
        (M, C, size, size).
    """
    height, width = maps.shape[2:]
    left, right, across, inside_x = _neighbours(spans[:, 0::2], width, count=size * samples)
    top, bottom, down, inside_y = _neighbours(spans[:, 1::2], height, count=size * samples)
    pixels = maps.float().permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
    base = image_indices[:, None, None] * (height * width)

    def row(rows: Tensor) -> Tensor:
        first, second = (pixels[base + rows[:, :, None] * width + columns[:, None]] for columns in (left, right))
        return first + (second - first) * across[:, None, :, None]

    upper, lower = row(top), row(bottom)
    cells = upper + (lower - upper) * down[:, :, None, None]
    cells = cells * (inside_y[:, :, None] * inside_x[:, None])[..., None]  # (M, S, S, C)
    if samples > 1:
        cells = cells.unflatten(1, (size, samples)).mean(2).unflatten(2, (size, samples)).mean(3)
    return cells.permute(0, 3, 1, 2).to(maps.dtype)


def _neighbours(spans: Tensor, length: int, *, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Returns the pixels before and after each of `count` samples of spans (M, 2) along one axis, and two weights.

    The first weight is the share of the pixel after; the second is 1 where a sample is near enough to the map, else 0.
    Each is (M, count).
    """
    positions = _positions(spans, count)
    near = ((positions >= -1) & (positions <= length)).float()
    clamped = positions.clamp(0, length - 1)
    first = clamped.floor()
    return first.long(), (first + 1).clamp(max=length - 1).long(), clamped - first, near


def _positions(spans: Tensor, count: int) -> Tensor:
    """Returns the positions (M, count) of samples of spans (M, 2); 0 is the first pixel's middle."""
    steps = (torch.arange(count, device=spans.device) + 0.5) / count
    return spans[:, :1] + (spans[:, 1:] - spans[:, :1]) * steps - 0.5


def _pixel_weights(spans: Tensor, length: int, *, size: int, samples: int) -> Tensor:
    """Returns (M, size, length): the weight of each of `length` pixels in each cell of spans (M, 2) along one axis."""
    positions = _positions(spans, size * samples)
    near = ((positions >= -1) & (positions <= length)).float()
    away = positions.clamp(0, length - 1)[..., None] - torch.arange(length, device=spans.device)
    return ((1 - away.abs()).clamp(min=0) * near[..., None]).unflatten(1, (size, samples)).mean(2)


def _pixel_ranges(spans: Tensor, length: int) -> list[slice]:
    """Returns the range of pixels, at least one, that the cells of each span (M, 2) read."""
    first = (spans[:, 0] - 0.5).floor().clamp(0, length - 1)
    last = torch.maximum((spans[:, 1] + 1.5).floor().clamp(max=length), first + 1)
    return [slice(int(low), int(high)) for low, high in torch.stack([first, last], 1).tolist()]
