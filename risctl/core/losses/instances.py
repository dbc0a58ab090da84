"""Losses of mini's detector: boxes and classes of instances, and their masks on the grids of ground-truth boxes.

Masks are learned from jittered ground-truth boxes, since detected boxes never fit exactly. From an image with many
instances some are sampled, large ones more often, since expressions refer to them more often.
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
from risctl.core.losses.box_masks import box_mask_loss, rgb_to_lab
from risctl.core.losses.detection import detection_losses
from risctl.data.batch import InstanceTargets

_MIN_SIDE = 2.0  # shortest side of an instance that is learned, in input pixels
_JITTER = 0.05  # standard deviation of the jitter of a box's sides, in box sides
_WEIGHT_OFFSET = 8.0  # added to an instance's side as its weight in sampling, in input pixels


def instance_losses(
    detector: InstanceDetector,
    images: Tensor,
    padding: Tensor,
    instances: Sequence[InstanceTargets],
    *,
    class_of: Mapping[int, int],
    per_image: int = 8,
    detect: bool = True,
) -> dict[str, Tensor]:
    """Returns the terms "quality", "overlap", "sides" (of detection) and "mask", each a float32 scalar.

    An image with an instance of no known class trains masks only, since detection would learn that instance as
    background. Where the masks are boxes, `box_mask_loss` takes the place of `mask_grid_loss`. Draws from torch's
    global generator.

    Args:
        detector: The detector.
        images: (B, 3, H, W), their padding filled.
        padding: (B, H, W) bool, True outside the image.
        instances: The instances of each image, with masks at any one scale of the input.
        class_of: The detector's class of each category id.
        per_image: Masks that are learned per image.
        detect: Whether detection is learned; False leaves its terms at 0.
    """
    cells, features = detector(images, padding)
    boxes, masks, labels = [], [], []
    for instance in instances:
        spans, kept = instance_boxes(instance.masks, width=images.shape[-1])
        boxes.append(spans[kept])
        masks.append(instance.masks[kept])
        classes = [class_of.get(category, -1) for category in instance.categories[kept].tolist()]
        labels.append(instance.categories.new_tensor(classes))
    terms = _detection_terms(cells, boxes, labels) if detect else {}
    zero = features.float().sum() * 0
    return {name: terms.get(name, zero) for name in ("quality", "overlap", "sides")} | {
        "mask": _mask_loss(
            detector,
            features.float(),
            images,
            boxes,
            masks,
            boxes_only=[one.boxes_only for one in instances],
            per_image=per_image,
        )
    }


def instance_boxes(masks: Tensor, *, width: int) -> tuple[Tensor, Tensor]:
    """Returns the boxes of instances.

    Args:
        masks: (N, h, w) bool.
        width: Width of the input in pixels.

    Returns:
        Boxes (N, 4), xyxy in input pixels, zeros for an empty mask; and (N,) bool, True where a box is large
        enough to be learned.
    """
    present = masks.flatten(1).any(1)
    boxes = torch.zeros((len(masks), 4), device=masks.device)
    if present.any():
        # `masks_to_boxes` returns the last row and column; a box reaches to their far sides.
        boxes[present] = masks_to_boxes(masks[present]).float() + boxes.new_tensor([0, 0, 1, 1])
    boxes = boxes * (width / masks.shape[-1])
    return boxes, (boxes[:, 2:] - boxes[:, :2]).amin(1) >= _MIN_SIDE


def mask_grid_loss(squares: Tensor, targets: Tensor) -> Tensor:
    """Returns binary cross-entropy plus Dice loss of mask grids.

    Args:
        squares: Logits (M, G, G).
        targets: (M, G, G) in [0, 1].
    """
    probabilities = squares.sigmoid()
    dice = 1 - (2 * (probabilities * targets).sum((1, 2)) + 1) / (probabilities.sum((1, 2)) + targets.sum((1, 2)) + 1)
    return functional.binary_cross_entropy_with_logits(squares, targets) + dice.mean()


def target_mask_loss(squares: Tensor, targets: Tensor, boxes: Tensor, *, stride: int) -> Tensor:
    """Returns the loss of mask grids against targets of the whole image, sampled within the boxes.

    Args:
        squares: Logits (M, G, G).
        targets: (M, h, w) in [0, 1].
        boxes: (M, 4) xyxy in input pixels, not expanded.
        stride: Stride of the targets in input pixels.
    """
    index = torch.arange(len(boxes), device=boxes.device, dtype=boxes.dtype)
    rois = torch.cat([index[:, None], expand_boxes(boxes.detach())], 1)
    crops = roi_align(targets[:, None], rois, squares.shape[-1], spatial_scale=1 / stride, aligned=True)[:, 0]
    return mask_grid_loss(squares.float(), crops.clamp(0, 1))


def _detection_terms(cells: CellPredictions, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> dict[str, Tensor]:
    rows = [row for row, classes in enumerate(labels) if bool((classes >= 0).all())]
    if not rows:
        return {}
    selected = CellPredictions(
        scores=cells.scores[rows].float(),
        sides=cells.sides[rows].float(),
        centres=cells.centres.float(),
        strides=cells.strides.float(),
    )
    with torch.autocast(cells.scores.device.type, enabled=False):
        return detection_losses(selected, [boxes[row] for row in rows], [labels[row] for row in rows])


def _mask_loss(
    detector: InstanceDetector,
    features: Tensor,
    images: Tensor,
    boxes: Sequence[Tensor],
    masks: Sequence[Tensor],
    *,
    boxes_only: Sequence[bool],
    per_image: int,
) -> Tensor:
    """Returns the loss of the masks of sampled instances, 0 if there is none."""
    side, width = 2 * detector.masks.grid, images.shape[-1]
    sampled_boxes, image_indices, targets = [], [], []
    for row, (own_boxes, own_masks) in enumerate(zip(boxes, masks, strict=True)):
        if not len(own_boxes):
            continue
        weights = (own_boxes[:, 2:] - own_boxes[:, :2]).prod(1).sqrt() + _WEIGHT_OFFSET
        sampled = torch.multinomial(weights, min(per_image, len(own_boxes)))
        jittered = _jitter(own_boxes[sampled])
        spans = torch.cat([torch.arange(len(sampled), device=own_boxes.device)[:, None], expand_boxes(jittered)], 1)
        scale = own_masks.shape[-1] / width
        sources = own_masks[sampled, None].float()
        crops = roi_align(sources, spans, side, spatial_scale=scale, sampling_ratio=2, aligned=True)
        sampled_boxes.append(jittered)
        image_indices.append(torch.full((len(sampled),), row, device=own_boxes.device))
        targets.append(crops[:, 0].clamp(0, 1))
    if not sampled_boxes:
        return features.sum() * 0
    rois, rows, wanted = torch.cat(sampled_boxes), torch.cat(image_indices), torch.cat(targets)
    squares = detector.masks(features, rois, rows).float()
    boxed = torch.tensor(boxes_only, device=rows.device)[rows]
    if not boxed.any():
        return mask_grid_loss(squares, wanted)
    colours = roi_align(
        rgb_to_lab(images.float()),
        torch.cat([rows[:, None], expand_boxes(rois)], 1)[boxed],
        side,
        sampling_ratio=2,
        aligned=True,
    )
    loss = box_mask_loss(squares[boxed], wanted[boxed], colours) * boxed.sum()
    if not boxed.all():
        loss = loss + mask_grid_loss(squares[~boxed], wanted[~boxed]) * (~boxed).sum()
    return loss / len(boxed)


def _jitter(boxes: Tensor) -> Tensor:
    reach = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    jittered = boxes + torch.randn_like(boxes) * reach * _JITTER
    return torch.cat([jittered[:, :2], torch.maximum(jittered[:, 2:], jittered[:, :2] + _MIN_SIDE)], 1)
