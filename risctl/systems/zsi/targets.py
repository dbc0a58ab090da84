"""What ZSI is trained on in one picture: which anchors and regions, and what each of them should have said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import roi_align

from risctl.core.heads.background_rpn import flatten_deltas, flatten_logits
from risctl.core.heads.box_conventions import BoxConvention
from risctl.core.heads.semantic_box import SemanticBoxes
from risctl.core.heads.semantic_mask import SemanticMasks
from risctl.core.losses.zero_shot_detection import mask_losses, proposal_losses, region_losses

_ANCHORS = 256
_ANCHOR_SHARE, _REGION_SHARE = 0.5, 0.25
_BACKGROUND, _IGNORED = -1, -2


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """The things in one picture.

    boxes (N, 4) xyxy in input pixels; labels (N,): seen classes from 1; masks (N, H, W) bool.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor

    @classmethod
    def of_masks(cls, masks: Tensor, labels: Tensor) -> Instances:
        """Return the things with masks (N, H, W) bool and classes labels (N,); empty masks are no things."""
        there = masks.flatten(1).any(1)
        masks, labels = masks[there], labels[there]
        boxes = [_span(mask) for mask in masks]
        return cls(
            boxes=torch.stack(boxes) if boxes else torch.zeros((0, 4), device=masks.device), labels=labels, masks=masks
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledAnchors:
    """Chosen anchors (N): their logits (N, 2) and deltas (N, 4), labels (N,) 0 or 1, wanted deltas (N, 4)."""

    logits: Tensor
    deltas: Tensor
    labels: Tensor
    targets: Tensor

    def losses(self) -> dict[str, Tensor]:
        """Return the loss of the proposals."""
        return proposal_losses(self.logits, self.deltas, self.labels, self.targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledRegions:
    """Chosen regions (N): corners (N, 4), classes (N,) with 0 for background, wanted deltas (N, 4), and which thing

    each one is, (N,), meaningful where `inside`.
    """

    corners: Tensor
    labels: Tensor
    targets: Tensor
    things: Tensor

    @property
    def inside(self) -> Tensor:
        """Which regions (N,) are of a thing."""
        return self.labels > 0

    def at_things(self, most: int | None) -> SampledRegions:
        """Return those of a thing, at most so many: as they were chosen by chance, the first ones."""
        chosen = torch.nonzero(self.inside)[:most, 0]
        return SampledRegions(
            corners=self.corners[chosen],
            labels=self.labels[chosen],
            targets=self.targets[chosen],
            things=self.things[chosen],
        )

    def losses(self, boxes: SemanticBoxes) -> dict[str, Tensor]:
        """Return the loss of what the box head says of them."""
        return region_losses(boxes, self.labels, self.targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskTargets:
    """Of the regions (M) that are of a thing: its class (M,) and its mask in the region (M, S, S)."""

    labels: Tensor
    squares: Tensor

    def losses(self, masks: SemanticMasks, logits: Tensor) -> dict[str, Tensor]:
        """Return the loss of the masks by the logits (M, K + 1, S, S)."""
        return mask_losses(masks, logits, self.labels, self.squares)


@torch.no_grad()
def match(overlaps: Tensor, *, high: float, low: float, keep_best: bool) -> Tensor:
    """Return for A boxes the row of `overlaps` (N, A) each belongs to, -1 for background, -2 for neither.

    Above `high` it belongs, below `low` it is background; keep_best: a thing's best boxes belong to it all the same,
    if they overlap by `low`.
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
    """Return `count` indices of `matches` (A,) by chance, at most the share `share` of things, the rest background."""
    things, rest = torch.nonzero(matches >= 0)[:, 0], torch.nonzero(matches == _BACKGROUND)[:, 0]
    things = things[torch.randperm(len(things), device=things.device)[: int(count * share)]]
    rest = rest[torch.randperm(len(rest), device=rest.device)[: count - len(things)]]
    return torch.cat([things, rest])


def sample_anchors(
    logits: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    instances: Instances,
    *,
    conventions: BoxConvention,
    height: int,
    width: int,
) -> SampledAnchors:
    """Choose 256 anchors, at most half of them at things; of mmdet1's only those that lie within the picture."""
    boxes = torch.cat(list(anchors))
    matches = match(conventions.iou(instances.boxes, boxes), high=0.7, low=0.3, keep_best=True)
    if conventions.name == "mmdet1":
        within = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2] < width) & (boxes[:, 3] < height)
        matches = matches.masked_fill(~within, _IGNORED)
    chosen = sample(matches, count=_ANCHORS, share=_ANCHOR_SHARE)
    things = matches[chosen]
    wanted = _wanted(boxes[chosen], things, instances, conventions, (1.0, 1.0, 1.0, 1.0))
    return SampledAnchors(
        logits=torch.cat([flatten_logits(one) for one in logits])[chosen],
        deltas=torch.cat([flatten_deltas(one) for one in deltas])[chosen],
        labels=(things >= 0).long(),
        targets=wanted,
    )


@torch.no_grad()
def sample_regions(
    proposed: Tensor, instances: Instances, *, count: int, conventions: BoxConvention, stds: Sequence[float]
) -> SampledRegions:
    """Choose `count` of the proposed regions (R, 4) and the things' own boxes, at most a quarter of them at things."""
    boxes = torch.cat([instances.boxes, proposed])
    matches = match(conventions.iou(instances.boxes, boxes), high=0.5, low=0.5, keep_best=False)
    chosen = sample(matches, count=count, share=_REGION_SHARE)
    things = matches[chosen]
    labels = torch.zeros_like(things)
    labels[things >= 0] = instances.labels[things[things >= 0]]
    wanted = _wanted(boxes[chosen], things, instances, conventions, stds)
    return SampledRegions(corners=boxes[chosen], labels=labels, targets=wanted, things=things)


@torch.no_grad()
def mask_targets(sampled: SampledRegions, instances: Instances, *, size: int) -> MaskTargets:
    """Return what the masks (M, size, size) of regions at things should be."""
    corners = sampled.corners
    rois = torch.cat([sampled.things[:, None].to(corners.dtype), corners], 1)
    squares = roi_align(instances.masks[:, None].to(corners.dtype), rois, size, aligned=True)[:, 0]
    return MaskTargets(labels=sampled.labels, squares=(squares >= 0.5).to(corners.dtype))


def _wanted(
    boxes: Tensor, things: Tensor, instances: Instances, conventions: BoxConvention, stds: Sequence[float]
) -> Tensor:
    wanted = torch.zeros_like(boxes)
    inside = things >= 0
    wanted[inside] = conventions.encode(boxes[inside], instances.boxes[things[inside]], stds=stds)
    return wanted


def _span(mask: Tensor) -> Tensor:
    """Return the box (4,) xyxy of a mask (H, W) bool."""
    rows, columns = torch.nonzero(mask, as_tuple=True)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
