"""Losses of a finder: boxes and classes of the things in pictures, and their masks on the squares of true boxes.

Masks are learned from true boxes moved a little, as found boxes never fit exactly; of a picture with many things some
are drawn by lot, big ones more often, since phrases mean them more often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import masks_to_boxes, roi_align

from risctl.core.heads.detection import CellPredictions
from risctl.core.heads.detector import InstanceDetector
from risctl.core.heads.instance_masks import expand_boxes
from risctl.core.losses.detection import detection_losses
from risctl.data.batch import InstanceTargets

_LEAST = 2.0  # the shortest side of a thing that is learned, in input pixels
_MOVED = 0.05  # how far the sides of a true box are moved, in box sides (standard deviation)
_BASE = 8.0  # what a thing's side is raised by when lots are drawn, in input pixels


def instance_losses(
    detector: InstanceDetector,
    images: Tensor,
    padding: Tensor,
    things: Sequence[InstanceTargets],
    *,
    class_of: Mapping[int, int],
    per_image: int = 8,
    detect: bool = True,
) -> dict[str, Tensor]:
    """Return the terms "quality", "overlap", "sides" (of detection) and "mask", each a float32 number.

    images (B, 3, H, W), already filled where padding (B, H, W) is; things: of each picture, masks of any one scale of
    the input. kind_of: category id -> class of the finder. A picture with a thing of no class teaches masks only, for
    it would have to call that thing background. per_picture: the most things of a picture whose masks are learned;
    detect: False leaves the terms of detection at 0. Draws from torch's global generator.
    """
    cells, features = detector(images, padding)
    boxes, masks, kinds = [], [], []
    for own in things:
        spans, kept = instance_boxes(own.masks, width=images.shape[-1])
        boxes.append(spans[kept])
        masks.append(own.masks[kept])
        kinds.append(own.categories.new_tensor([class_of.get(one, -1) for one in own.categories[kept].tolist()]))
    terms = _found(cells, boxes, kinds) if detect else {}
    none = features.float().sum() * 0
    return {name: terms.get(name, none) for name in ("quality", "overlap", "sides")} | {
        "mask": _drawn(detector, features.float(), boxes, masks, per_image=per_image, width=images.shape[-1])
    }


def instance_boxes(masks: Tensor, *, width: int) -> tuple[Tensor, Tensor]:
    """Return the boxes (N, 4), xyxy in pixels of an input `width` wide, of masks (N, h, w), and which are large enough
    to be learned, (N,) bool; zeros for an empty mask."""
    there = masks.flatten(1).any(1)
    boxes = torch.zeros((len(masks), 4), device=masks.device)
    if there.any():
        # The published function gives the last row and column, a box reaches to their far sides.
        boxes[there] = masks_to_boxes(masks[there]).float() + boxes.new_tensor([0, 0, 1, 1])
    boxes = boxes * (width / masks.shape[-1])
    return boxes, (boxes[:, 2:] - boxes[:, :2]).amin(1) >= _LEAST


def mask_grid_loss(squares: Tensor, wanted: Tensor) -> Tensor:
    """Return cross-entropy plus Dice of logits (M, G, G) with what they should be (M, G, G), in [0, 1]."""
    drawn = squares.sigmoid()
    dice = 1 - (2 * (drawn * wanted).sum((1, 2)) + 1) / (drawn.sum((1, 2)) + wanted.sum((1, 2)) + 1)
    return functional.binary_cross_entropy_with_logits(squares, wanted) + dice.mean()


def _found(cells: CellPredictions, boxes: Sequence[Tensor], kinds: Sequence[Tensor]) -> dict[str, Tensor]:
    rows = [row for row, own in enumerate(kinds) if bool((own >= 0).all())]
    if not rows:
        return {}
    known = CellPredictions(
        scores=cells.scores[rows].float(),
        sides=cells.sides[rows].float(),
        centres=cells.centres.float(),
        strides=cells.strides.float(),
    )
    with torch.autocast(cells.scores.device.type, enabled=False):
        return detection_losses(known, [boxes[row] for row in rows], [kinds[row] for row in rows])


def _drawn(
    detector: InstanceDetector,
    features: Tensor,
    boxes: Sequence[Tensor],
    masks: Sequence[Tensor],
    *,
    per_image: int,
    width: int,
) -> Tensor:
    """Return the loss of the masks of some things of each picture, 0 if there is none."""
    side = 2 * detector.masks.grid
    asked, pictures, wanted = [], [], []
    for row, (own, shapes) in enumerate(zip(boxes, masks, strict=True)):
        if not len(own):
            continue
        weights = (own[:, 2:] - own[:, :2]).prod(1).sqrt() + _BASE
        lot = torch.multinomial(weights, min(per_image, len(own)))
        moved = _move(own[lot])
        spans = torch.cat([torch.arange(len(lot), device=own.device)[:, None], expand_boxes(moved)], 1)
        scale = shapes.shape[-1] / width
        seen = roi_align(shapes[lot, None].float(), spans, side, spatial_scale=scale, sampling_ratio=2, aligned=True)
        asked.append(moved)
        pictures.append(torch.full((len(lot),), row, device=own.device))
        wanted.append(seen[:, 0].clamp(0, 1))
    if not asked:
        return features.sum() * 0
    squares = detector.masks(features, torch.cat(asked), torch.cat(pictures))
    return mask_grid_loss(squares.float(), torch.cat(wanted))


def _move(boxes: Tensor) -> Tensor:
    reach = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = boxes + torch.randn_like(boxes) * reach * _MOVED
    return torch.cat([moved[:, :2], torch.maximum(moved[:, 2:], moved[:, :2] + _LEAST)], 1)
