"""Global-Local CLIP (Yu et al., CVPR 2023): features of proposals in context and on their own, and text scores.

Every step follows the public code (Seonghoon-Yu/Zero-shot-RIS, 75ff6ed): images are normalised with ImageNet's mean and
standard deviation, not CLIP's; tensors are resized bilinearly without antialiasing and without keeping the aspect
ratio, as in torchvision 0.11, since antialiasing changes the selected proposal.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
SHORT_SIDE = 800

Box = Literal["tight", "reference"]
"""How a mask's box is found: its true extent, or the published proposal generator's estimate from its mean."""


def resize(maps: Tensor, height: int, width: int) -> Tensor:
    """Resizes maps (N, C, H, W) to (N, C, height, width), bilinearly and without antialiasing."""
    return functional.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False, antialias=False)


def preprocess(
    image: np.ndarray, *, normalisation: tuple[tuple[float, ...], tuple[float, ...]] | None = None
) -> Tensor:
    """Resizes an image so that its shorter side is 800 pixels (by PIL) and normalises it.

    Args:
        image: (H, W, 3) uint8.
        normalisation: Mean and deviation; None takes those of the publication, ImageNet's.

    Returns:
        (1, 3, h, w) float32.
    """
    height, width = image.shape[:2]
    if width <= height:
        size = (SHORT_SIDE, int(SHORT_SIDE * height / width))
    else:
        size = (int(SHORT_SIDE * width / height), SHORT_SIDE)
    pixels = Image.fromarray(image)
    pixels = pixels if pixels.size == size else pixels.resize(size, Image.Resampling.BILINEAR)
    values = torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 255
    mean, deviation = (torch.tensor(one)[:, None, None] for one in normalisation or (MEAN, DEVIATION))
    return ((values - mean) / deviation)[None]


def mask_boxes(masks: Tensor, how: Box = "tight") -> Tensor:
    """Returns the bounding boxes of masks.

    Args:
        masks: (N, H, W) bool.
        how: "tight" for the true extent; "reference" for the mean of the occupied columns (rows) plus and minus half
            their number, as in the public code. Such a box can miss parts of a mask in two pieces.

    Returns:
        (N, 4) float32 xyxy in pixels, the far sides exclusive; zeros for an empty mask.
    """
    sides = []
    for axis in (1, 2):
        occupied = masks.any(dim=axis)
        size = occupied.shape[1]
        places = torch.arange(size, device=masks.device)
        count = occupied.sum(1)
        if how == "reference":
            middle = (occupied * places).sum(1).float() / count.clamp(min=1)
            sides.append((middle - count / 2, middle + count / 2))
        else:
            first = torch.where(occupied, places, size).amin(1).where(count > 0, 0)
            sides.append((first.float(), (torch.where(occupied, places, -1).amax(1) + 1).float()))
    (left, right), (top, bottom) = sides
    return torch.stack([left, top, right, bottom], dim=1)


def integer_boxes(boxes: Tensor, *, height: int, width: int) -> Tensor:
    """Truncates boxes to int64 and clips them to the image, at least one pixel wide and high.

    Args:
        boxes: (N, 4) xyxy in pixels.
        height: Height of the image.
        width: Width of the image.

    Returns:
        (N, 4) int64.
    """
    whole = boxes.to(torch.int64)
    left, top = whole[:, 0].clamp(0, width - 1), whole[:, 1].clamp(0, height - 1)
    right = torch.maximum(whole[:, 2].clamp(max=width), left + 1)
    bottom = torch.maximum(whole[:, 3].clamp(max=height), top + 1)
    return torch.stack([left, top, right, bottom], dim=1)


def masked_crops(image: Tensor, masks: Tensor, boxes: Tensor, *, size: int) -> Tensor:
    """Crops masked objects at their boxes and resizes them, in one sampling.

    Outside the mask stands the mean's own value, filled in after normalisation, as published. Only the pixels that
    resizing reads are touched: two rows and columns for each of the result's.

    Args:
        image: (1, 3, H, W), normalised.
        masks: (N, H, W) bool.
        boxes: (N, 4) int64 xyxy in pixels.
        size: Side of a crop.

    Returns:
        (N, 3, size, size).
    """
    (low_y, high_y, part_y), (low_x, high_x, part_x) = (
        _taps(boxes[:, first], boxes[:, first + 2], size) for first in (1, 0)
    )
    rows, columns = torch.cat([low_y, high_y], dim=1), torch.cat([low_x, high_x], dim=1)
    flat = rows[:, :, None] * image.shape[3] + columns[:, None, :]
    number = torch.arange(len(masks), device=masks.device)[:, None, None]
    inside = masks.flatten(1)[number, flat].to(image.dtype)[:, None]
    fill = torch.tensor(MEAN, dtype=image.dtype, device=image.device)[:, None, None]
    values = image[0].flatten(1)[:, flat].transpose(0, 1)
    values = values * inside + (1 - inside) * fill
    across = torch.lerp(values[..., :size], values[..., size:], part_x[:, None, None, :])
    return torch.lerp(across[:, :, :size], across[:, :, size:], part_y[:, None, :, None])


def _taps(start: Tensor, stop: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Returns (lower index, upper index, weight of the upper), each (N, size), for resizing [start, stop)."""
    length = (stop - start)[:, None]
    steps = torch.arange(size, device=start.device)
    place = ((steps + 0.5) * (length / size) - 0.5).clamp(min=0)
    low = place.floor().to(torch.int64).clamp(max=length - 1)
    high = torch.minimum(low + 1, length - 1)
    return start[:, None] + low, start[:, None] + high, place - low


def combine(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Returns weight * first + (1 - weight) * second."""
    return weight * first + (1 - weight) * second


def similarities(visual: Tensor, text: Tensor, logit_scale: Tensor, *, normalise: bool) -> Tensor:
    """Returns how well texts match proposals.

    Args:
        visual: Features of proposals (N, E).
        text: Features of texts (T, E).
        logit_scale: Logarithm of CLIP's temperature factor.
        normalise: True for cosine similarity, as ViTs are scored. False for the dot product: a ResNet's features are
            normalised before they are combined, and their sums are not normalised again.

    Returns:
        (T, N) float32.
    """
    visual, text = visual.float(), text.float()
    if normalise:
        visual, text = functional.normalize(visual, dim=-1), functional.normalize(text, dim=-1)
    return logit_scale.float().exp() * text @ visual.T
