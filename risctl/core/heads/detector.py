"""The finder: the things in a picture, with boxes, class scores and the map that their masks are made of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from risctl.core.encoders.visual.shufflenet import ShuffleNet
from risctl.core.fusion.pan import PathAggregation
from risctl.core.heads.detection import CellPredictions, DetectionHead
from risctl.core.heads.instance_masks import InstanceMaskHead, MaskFeatures
from risctl.core.heads.roi_ops import nms


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionBatch:
    """What was found in B pictures, N at most, surest first.

    corners (B, N, 4): xyxy in input pixels; scores (B, N, K) in [0, 1]; mask (B, N) bool, True where a thing is.
    """

    corners: Tensor
    scores: Tensor
    mask: Tensor


class InstanceDetector(nn.Module):
    """ShuffleNetV2, path aggregation, detection head and masks of boxes: some 1.1 M parameters."""

    def __init__(
        self, backbone: nn.Module | None = None, *, classes: int = 80, neck: int = 96, channels: int = 64
    ) -> None:
        """Builds it on a backbone with maps at strides 4, 8, 16 and 32; None: `ShuffleNet`."""
        super().__init__()
        self.backbone = ShuffleNet() if backbone is None else backbone
        finest, *coarser = tuple(self.backbone.channels)  # type: ignore[arg-type]
        self.neck = PathAggregation(tuple(coarser), channels=neck)
        self.head = DetectionHead(neck, classes=classes, strides=ShuffleNet.strides[1:])
        self.features = MaskFeatures(finest, neck, levels=3, channels=channels)
        self.masks = InstanceMaskHead(channels)

    def forward(self, images: Tensor, padding: Tensor) -> tuple[CellPredictions, Tensor]:
        """Return what the detection head says and the map (B, channels, H/4, W/4) for masks, of images (B, 3, H, W)."""
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
    """Return the surest things of each picture: one a place, whatever its class.

    extents (B, 4): left, top, right, bottom of the picture in the input, in pixels; most: things a picture; floor: the
    least score; overlap: the IoU from which two boxes are of one place. Boxes are cut at the picture's border.
    """
    scores = cells.scores.sigmoid()
    boxes = cells.boxes()
    low, high = extents[:, None, :2], extents[:, None, 2:]
    boxes = torch.cat([boxes[..., :2].maximum(low).minimum(high), boxes[..., 2:].maximum(low).minimum(high)], -1)
    best = scores.amax(-1)
    sized = (boxes[..., 2:] - boxes[..., :2]).amin(-1) > 1
    picked = []
    for row in range(len(boxes)):
        sure = torch.nonzero((best[row] > score_threshold) & sized[row])[:, 0]
        # Beyond some hundreds of candidates nothing new is found, but the suppression takes its time.
        sure = sure[best[row, sure].topk(min(400, len(sure))).indices]
        picked.append(sure[nms(boxes[row, sure].float(), best[row, sure].float(), iou_threshold)][:max_count])
    length = max((len(one) for one in picked), default=0)
    corners, kinds = boxes.new_zeros(len(boxes), length, 4), scores.new_zeros(len(boxes), length, scores.shape[-1])
    mask = torch.zeros(len(boxes), length, dtype=torch.bool, device=boxes.device)
    for row, own in enumerate(picked):
        corners[row, : len(own)], kinds[row, : len(own)] = boxes[row, own], scores[row, own]
        mask[row, : len(own)] = True
    return DetectionBatch(corners=corners, scores=kinds, mask=mask)
