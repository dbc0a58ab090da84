"""Global-Local CLIP (CVPR 2023): what a proposal looks like in its context and on its own, and how well a text fits it.

Every step as in the public code (Seonghoon-Yu/Zero-shot-RIS, 75ff6ed): pictures normalised with ImageNet's mean and
deviation, not CLIP's; all resizing of tensors bilinear, the aspect squashed, without antialiasing, as in torchvision
0.11, since antialiasing changes the choice.
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
    """Return maps (N, C, H, W) at another size, bilinearly, without antialiasing."""
    return functional.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False, antialias=False)


def preprocess(image: np.ndarray) -> Tensor:
    """Return a picture (H, W, 3) uint8 as (1, 3, h, w), shorter side 800 by PIL, normalised."""
    height, width = image.shape[:2]
    if width <= height:
        size = (SHORT_SIDE, int(SHORT_SIDE * height / width))
    else:
        size = (int(SHORT_SIDE * width / height), SHORT_SIDE)
    pixels = Image.fromarray(image)
    pixels = pixels if pixels.size == size else pixels.resize(size, Image.Resampling.BILINEAR)
    values = torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / 255
    mean, deviation = (torch.tensor(one)[:, None, None] for one in (MEAN, DEVIATION))
    return ((values - mean) / deviation)[None]


def mask_boxes(masks: Tensor, how: Box = "tight") -> Tensor:
    """Return the boxes (N, 4) x1 y1 x2 y2, float, the far sides exclusive, of bool masks (N, H, W).

    reference: the mean of the occupied columns (rows) -/+ half their number, before truncation; such a box can miss a
    mask in two pieces. An empty mask has the box 0 0 0 0.
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


def integer_boxes(found: Tensor, *, height: int, width: int) -> Tensor:
    """Return boxes (N, 4) truncated to int64 and kept within the picture, at least one pixel wide and high."""
    whole = found.to(torch.int64)
    left, top = whole[:, 0].clamp(0, width - 1), whole[:, 1].clamp(0, height - 1)
    right = torch.maximum(whole[:, 2].clamp(max=width), left + 1)
    bottom = torch.maximum(whole[:, 3].clamp(max=height), top + 1)
    return torch.stack([left, top, right, bottom], dim=1)


def masked_crops(picture: Tensor, masks: Tensor, found: Tensor, *, size: int) -> Tensor:
    """Return each masked object cut at its box and resized, (N, 3, size, size), in one sampling.

    picture (1, 3, H, W) normalised; masks (N, H, W); found (N, 4) int64 boxes. Outside the mask stands the mean's own
    value, applied in the normalised space as published. Only the pixels that the resizing reads are touched: two rows
    and columns for each of the result's.
    """
    (low_y, high_y, part_y), (low_x, high_x, part_x) = (
        _taps(found[:, first], found[:, first + 2], size) for first in (1, 0)
    )
    rows, columns = torch.cat([low_y, high_y], dim=1), torch.cat([low_x, high_x], dim=1)
    flat = rows[:, :, None] * picture.shape[3] + columns[:, None, :]
    number = torch.arange(len(masks), device=masks.device)[:, None, None]
    inside = masks.flatten(1)[number, flat].to(picture.dtype)[:, None]
    fill = torch.tensor(MEAN, dtype=picture.dtype, device=picture.device)[:, None, None]
    values = picture[0].flatten(1)[:, flat].transpose(0, 1)
    values = values * inside + (1 - inside) * fill
    across = torch.lerp(values[..., :size], values[..., size:], part_x[:, None, None, :])
    return torch.lerp(across[:, :, :size], across[:, :, size:], part_y[:, None, :, None])


def _taps(start: Tensor, stop: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (lower index, upper index, weight of the upper), each (N, size), of resizing [start, stop)."""
    length = (stop - start)[:, None]
    steps = torch.arange(size, device=start.device)
    place = ((steps + 0.5) * (length / size) - 0.5).clamp(min=0)
    low = place.floor().to(torch.int64).clamp(max=length - 1)
    high = torch.minimum(low + 1, length - 1)
    return start[:, None] + low, start[:, None] + high, place - low


def combine(first: Tensor, second: Tensor, weight: float) -> Tensor:
    """Return weight * first + (1 - weight) * second."""
    return weight * first + (1 - weight) * second


def similarities(visual: Tensor, text: Tensor, logit_scale: Tensor, *, normalise: bool) -> Tensor:
    """Return how well texts (T, E) fit proposals (N, E), (T, N) float32.

    normalise: cosine, as the ViTs are scored; else the dot product: a ResNet's features are normalised one by one
    before they are combined, and their sums are not again.
    """
    visual, text = visual.float(), text.float()
    if normalise:
        visual, text = functional.normalize(visual, dim=-1), functional.normalize(text, dim=-1)
    return logit_scale.float().exp() * text @ visual.T
