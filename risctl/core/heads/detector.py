"""mini's detector: boxes and class scores of the instances in an image, and the features of their masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from risctl.core.encoders.visual.shufflenet import ShuffleNet
from risctl.core.fusion.ghost_pan import KERNEL, GhostPathAggregation
from risctl.core.fusion.pan import PathAggregation
from risctl.core.heads.detection import CellPredictions, DetectionHead
from risctl.core.heads.instance_masks import InstanceMaskHead, MaskFeatures
from risctl.core.heads.roi_ops import nms, nms_ordered

_CANDIDATES = 400  # more add no detections, but slow the suppression down


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionBatch:
    """Detections of B images, at most N each, by falling score.

    Attributes:
        corners: (B, N, 4) xyxy in input pixels.
        scores: (B, N, K) class scores in [0, 1].
        mask: (B, N) bool, True where a detection is.
    """

    corners: Tensor
    scores: Tensor
    mask: Tensor


class InstanceDetector(nn.Module):
    """Backbone, path aggregation, detection head and mask head: about 1.1 M parameters with ShuffleNetV2."""

    def __init__(
        self,
        backbone: nn.Module | None = None,
        *,
        classes: int = 80,
        neck: int = 96,
        channels: int = 64,
        plus: bool = False,
    ) -> None:
        """Builds the detector.

        Args:
            backbone: A backbone with maps at strides 4, 8, 16 and 32; None for `ShuffleNet`.
            classes: Number of categories K.
            neck: Channels of the neck.
            channels: Channels of the mask features.
            plus: Whether neck and head are those of NanoDet-Plus-m, else those of NanoDet-m.
        """
        super().__init__()
        self.backbone = ShuffleNet() if backbone is None else backbone
        finest, *coarser = tuple(self.backbone.channels)  # type: ignore[arg-type]
        strides = ShuffleNet.strides[1:]
        if plus:
            self.neck: nn.Module = GhostPathAggregation(tuple(coarser), channels=neck)
            self.head = DetectionHead(
                neck, classes=classes, strides=(*strides, 2 * strides[-1]), kernel=KERNEL, cell_centre=0.0
            )
        else:
            self.neck = PathAggregation(tuple(coarser), channels=neck)
            self.head = DetectionHead(neck, classes=classes, strides=strides)
        self.features = MaskFeatures(finest, neck, levels=3, channels=channels)
        self.masks = InstanceMaskHead(channels)

    def forward(self, images: Tensor, padding: Tensor) -> tuple[CellPredictions, Tensor]:
        """Runs backbone, neck and detection head.

        Args:
            images: (B, 3, H, W).
            padding: (B, H, W) bool, True outside the image.

        Returns:
            The predictions at all cells, and mask features (B, channels, H / 4, W / 4).
        """
        maps = self.backbone(images, padding).maps
        aggregated = self.neck(maps[1:])
        return self.head(aggregated), self.features(maps[0], aggregated)


def select_detections(
    cells: CellPredictions,
    *,
    extents: Tensor,
    max_count: int,
    score_threshold: float = 0.05,
    iou_threshold: float = 0.6,
) -> DetectionBatch:
    """Selects the best detections of each image by class-agnostic non-maximum suppression.

    Boxes are clipped to the image.

    Args:
        cells: Predictions for B images.
        extents: (B, 4) left, top, right and bottom of the image within the input, in pixels.
        max_count: Detections per image.
        score_threshold: Score that a detection must exceed.
        iou_threshold: Overlap above which the lower-scored of two boxes is suppressed.
    """
    scores = cells.scores.sigmoid()
    boxes = cells.boxes()
    low, high = extents[:, None, :2], extents[:, None, 2:]
    boxes = torch.cat([boxes[..., :2].maximum(low).minimum(high), boxes[..., 2:].maximum(low).minimum(high)], -1)
    best = scores.amax(-1)
    sized = (boxes[..., 2:] - boxes[..., :2]).amin(-1) > 1
    if torch.compiler.is_compiling():
        usable = (best > score_threshold) & sized
        return _select_at_once(boxes, scores, usable, max_count=max_count, iou_threshold=iou_threshold)
    kept_by_image = []
    for row in range(len(boxes)):
        candidates = torch.nonzero((best[row] > score_threshold) & sized[row])[:, 0]
        candidates = candidates[best[row, candidates].topk(min(_CANDIDATES, len(candidates))).indices]
        kept_by_image.append(
            candidates[nms(boxes[row, candidates].float(), best[row, candidates].float(), iou_threshold)][:max_count]
        )
    length = max((len(one) for one in kept_by_image), default=0)
    corners, class_scores = (
        boxes.new_zeros(len(boxes), length, 4),
        scores.new_zeros(len(boxes), length, scores.shape[-1]),
    )
    mask = torch.zeros(len(boxes), length, dtype=torch.bool, device=boxes.device)
    for row, kept in enumerate(kept_by_image):
        corners[row, : len(kept)], class_scores[row, : len(kept)] = boxes[row, kept], scores[row, kept]
        mask[row, : len(kept)] = True
    return DetectionBatch(corners=corners, scores=class_scores, mask=mask)


def _select_at_once(
    boxes: Tensor, scores: Tensor, usable: Tensor, *, max_count: int, iou_threshold: float
) -> DetectionBatch:
    """Selects as `select_detections` does, `max_count` rows an image, for exported graphs: without loops.

    Args:
        boxes: (B, A, 4), clipped to the image.
        scores: (B, A, K) in [0, 1].
        usable: (B, A) bool, those with a score and a size.
        max_count: Detections per image.
        iou_threshold: As in `select_detections`.
    """
    ranked = torch.where(usable, scores.amax(-1), -1.0).topk(min(_CANDIDATES, boxes.shape[1]))
    corners = boxes.gather(1, ranked.indices[..., None].expand(-1, -1, 4))
    kept = nms_ordered(corners.float(), ranked.values > 0, iou_threshold)
    count = kept.shape[1]
    # The kept ones first, in their order.
    place = torch.arange(count, device=boxes.device) + count * (~kept).long()
    first = (-place.to(boxes.dtype)).topk(min(max_count, count)).indices
    mask = kept.gather(1, first)
    chosen = ranked.indices.gather(1, first)[..., None]
    zero = mask[..., None].to(boxes.dtype)
    return DetectionBatch(
        corners=boxes.gather(1, chosen.expand(-1, -1, 4)) * zero,
        scores=scores.gather(1, chosen.expand(-1, -1, scores.shape[-1])) * zero,
        mask=mask,
    )
