"""mini's two halves as modules of tensors, for export."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import VisualFeatures
from risctl.core.fusion.box_selector import EncodedBoxes
from risctl.core.heads.detector import DetectionBatch
from risctl.data.box_grounding.boxes import Boxes
from risctl.systems.base import System
from risctl.systems.exportable import answers

FEATURES = (
    "mask_features",
    "finer_features",
    "corners",
    "class_scores",
    "present",
    "places",
    "box_tokens",
    "box_pairs",
)


class MiniEncoder(nn.Module):
    """Detects the instances of images and encodes their boxes; gives `FEATURES`."""

    def __init__(self, system: System) -> None:
        super().__init__()
        self.system = system

    def forward(self, images: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        """Encodes images (B, 3, H, W) with padding (B, H, W)."""
        visual: Any = self.system.encode_image(images, padding)
        found, encoded = visual.detections, visual.encoded_boxes
        return (
            *visual.maps,
            found.corners,
            found.scores,
            found.mask,
            visual.boxes.corners,
            encoded.tokens,
            encoded.pairs,
        )


class MiniAnswers(nn.Module):
    """Selects the boxes that expressions refer to, and draws them."""

    def __init__(self, system: System, kind: type[VisualFeatures], strides: tuple[int, ...]) -> None:
        """Takes the system, the class of its features and their strides."""
        super().__init__()
        self.system = system
        self.kind = kind
        self.strides = strides

    def forward(
        self, features: Sequence[Tensor], padding: Tensor, image_of: Tensor, words: Tensor, word_mask: Tensor
    ) -> tuple[Tensor, ...]:
        """Answers expressions (N, L) about the images `image_of` (N,) of the encoded ones.

        Returns:
            Logits (N, h, w), scores (N,), and the probability (N, K) that each box, of `places`, is referred to.
        """
        mask_features, finer, corners, scores, present, places, tokens, pairs = features
        kind: Any = self.kind
        visual = kind(
            maps=(mask_features, finer),
            strides=self.strides,
            padding=padding,
            detections=DetectionBatch(corners=corners, scores=scores, mask=present),
            # Beside the places nothing of the boxes is read once they are encoded.
            boxes=Boxes(corners=places, classes=scores, mask=present, aspect=torch.ones_like(places[:, 0, 0])),
            encoded_boxes=EncodedBoxes(tokens=tokens, pairs=pairs, mask=present),
        ).select(image_of)
        output = self.system.decode(visual, self.system.encode_text(words, word_mask))
        return (*answers(output), output.maps["choice"])
