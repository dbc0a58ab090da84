"""Samples the anchors and regions that ZSI is trained on in one image, with their targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import torch
from torch import Tensor
from torchvision.ops import roi_align

from risctl.core.heads.background_rpn import flatten_deltas, flatten_logits
from risctl.core.heads.box_conventions import BoxConvention
from risctl.core.heads.semantic_box import SemanticBoxes
from risctl.core.heads.semantic_mask import SemanticMasks
from risctl.core.losses.zero_shot_detection import mask_losses, proposal_losses, region_losses

Part = TypeVar("Part", bound=Any)
_ANCHORS = 256
_ANCHOR_SHARE, _REGION_SHARE = 0.5, 0.25
_BACKGROUND, _IGNORED = -1, -2


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """The annotated instances of one image.

    Attributes:
        boxes: (N, 4), xyxy in input pixels.
        labels: (N,), seen categories from 1.
        masks: Bool (N, H, W).
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor

    @classmethod
    def of_masks(cls, masks: Tensor, labels: Tensor) -> Instances:
        """Returns the instances with masks bool (N, H, W) and labels (N,), without those whose mask is empty."""
        there = masks.flatten(1).any(1)
        masks, labels = masks[there], labels[there]
        boxes = [_span(mask) for mask in masks]
        return cls(
            boxes=torch.stack(boxes) if boxes else torch.zeros((0, 4), device=masks.device), labels=labels, masks=masks
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledAnchors:
    """Sampled anchors: logits (N, 2), deltas (N, 4), labels (N,) 0 or 1, and target deltas (N, 4)."""

    logits: Tensor
    deltas: Tensor
    labels: Tensor
    targets: Tensor

    def losses(self) -> dict[str, Tensor]:
        """Returns the loss terms of the proposals."""
        return proposal_losses(self.logits, self.deltas, self.labels, self.targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledRegions:
    """Sampled regions.

    Attributes:
        corners: (N, 4), xyxy in input pixels.
        labels: (N,), categories; 0 for background.
        targets: (N, 4), target deltas.
        matched: (N,), the matched instance; meaningful where `inside`.
    """

    corners: Tensor
    labels: Tensor
    targets: Tensor
    matched: Tensor

    @property
    def inside(self) -> Tensor:
        """Which regions (N,) match an instance."""
        return self.labels > 0

    def at_instances(self, max_count: int | None) -> SampledRegions:
        """Returns the regions that match an instance, the first `max_count`: their order is random."""
        chosen = torch.nonzero(self.inside)[:max_count, 0]
        return SampledRegions(
            corners=self.corners[chosen],
            labels=self.labels[chosen],
            targets=self.targets[chosen],
            matched=self.matched[chosen],
        )

    def losses(self, boxes: SemanticBoxes) -> dict[str, Tensor]:
        """Returns the loss terms of the box head."""
        return region_losses(boxes, self.labels, self.targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskTargets:
    """Targets of the M regions that match an instance: labels (M,) and masks within the region (M, S, S)."""

    labels: Tensor
    squares: Tensor

    def losses(self, masks: SemanticMasks, logits: Tensor) -> dict[str, Tensor]:
        """Returns the loss terms of the masks, given the logits (M, K + 1, S, S)."""
        return mask_losses(masks, logits, self.labels, self.squares)


def joined(parts: Sequence[Part]) -> Part:
    """Returns samples or outputs of several images, dataclasses of tensors, as those of one."""
    names = [field.name for field in fields(parts[0])]
    return type(parts[0])(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


@torch.no_grad()
def match(overlaps: Tensor, *, high: float, low: float, keep_best: bool) -> Tensor:
    """Matches A boxes with N instances.

    Args:
        overlaps: IoU (N, A).
        high: A box matches its best instance from this IoU on.
        low: Below it, a box is background.
        keep_best: Whether the best boxes of an instance match it from `low` on.

    Returns:
        The matched instance (A,) of each box; -1 for background, -2 for boxes to ignore.
    """
    if not len(overlaps):
        return torch.full(overlaps.shape[1:], _BACKGROUND, dtype=torch.int64, device=overlaps.device)
    best, rows = overlaps.max(0)
    found = torch.where(best >= high, rows, torch.where(best < low, _BACKGROUND, _IGNORED))
    if keep_best:
        for row, own in enumerate(overlaps):
            if own.max() >= low:
                found[own == own.max()] = row
    return found


@torch.no_grad()
def sample(matches: Tensor, *, count: int, share: float) -> Tensor:
    """Samples `count` indices of `matches` (A,), at most a `share` of them matched, the rest background."""
    matched, rest = torch.nonzero(matches >= 0)[:, 0], torch.nonzero(matches == _BACKGROUND)[:, 0]
    matched = matched[torch.randperm(len(matched), device=matched.device)[: int(count * share)]]
    rest = rest[torch.randperm(len(rest), device=rest.device)[: count - len(matched)]]
    return torch.cat([matched, rest])


def sample_anchors(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    instances: Instances,
    *,
    conventions: BoxConvention,
    height: int,
    width: int,
    border: bool,
) -> SampledAnchors:
    """Samples 256 anchors of an image, at most half of them matched; without `border` only those within the image."""
    boxes = torch.cat(list(anchors))
    matches = match(conventions.iou(instances.boxes, boxes), high=0.7, low=0.3, keep_best=True)
    if not border:
        within = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2] < width) & (boxes[:, 3] < height)
        matches = matches.masked_fill(~within, _IGNORED)
    chosen = sample(matches, count=_ANCHORS, share=_ANCHOR_SHARE)
    matched = matches[chosen]
    wanted = _wanted(boxes[chosen], matched, instances, conventions, (1.0, 1.0, 1.0, 1.0))
    return SampledAnchors(
        logits=torch.cat([flatten_logits(logit) for logit in logits])[chosen],
        deltas=torch.cat([flatten_deltas(delta) for delta in deltas])[chosen],
        labels=(matched >= 0).long(),
        targets=wanted,
    )


@torch.no_grad()
def sample_regions(
    proposed: Tensor, instances: Instances, *, count: int, conventions: BoxConvention, stds: Sequence[float]
) -> SampledRegions:
    """Samples `count` of the proposals (R, 4) and the annotated boxes, at most a quarter of them matched."""
    boxes = torch.cat([instances.boxes, proposed])
    matches = match(conventions.iou(instances.boxes, boxes), high=0.5, low=0.5, keep_best=False)
    chosen = sample(matches, count=count, share=_REGION_SHARE)
    matched = matches[chosen]
    labels = torch.zeros_like(matched)
    labels[matched >= 0] = instances.labels[matched[matched >= 0]]
    wanted = _wanted(boxes[chosen], matched, instances, conventions, stds)
    return SampledRegions(corners=boxes[chosen], labels=labels, targets=wanted, matched=matched)


@torch.no_grad()
def mask_targets(sampled: SampledRegions, instances: Instances, *, size: int) -> MaskTargets:
    """Returns the targets of the masks (M, size, size) of matched regions."""
    corners = sampled.corners
    rois = torch.cat([sampled.matched[:, None].to(corners.dtype), corners], 1)
    squares = roi_align(instances.masks[:, None].to(corners.dtype), rois, size, aligned=True)[:, 0]
    return MaskTargets(labels=sampled.labels, squares=(squares >= 0.5).to(corners.dtype))


def _wanted(
    boxes: Tensor, matched: Tensor, instances: Instances, conventions: BoxConvention, stds: Sequence[float]
) -> Tensor:
    wanted = torch.zeros_like(boxes)
    inside = matched >= 0
    wanted[inside] = conventions.encode(boxes[inside], instances.boxes[matched[inside]], stds=stds)
    return wanted


def _span(mask: Tensor) -> Tensor:
    """Returns the box (4,) xyxy of a mask bool (H, W)."""
    rows, columns = torch.nonzero(mask, as_tuple=True)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
