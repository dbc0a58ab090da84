"""Holds the regions that ZSI proposes in an image, and the categories that are queried in them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from risctl.core.encoders.base import VisualFeatures
from risctl.core.heads.semantic_box import SemanticBoxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """The regions of one image.

    Attributes:
        maps: Five maps (1, C, H_i, W_i), strides 4 to 64.
        logits: Logits of the proposals, per level.
        deltas: Box deltas of the proposals, per level.
        height: Height of the image in input pixels.
        width: Width of the image in input pixels.
        corners: (R, 4), xyxy of the proposed regions in input pixels.
        scores: (R,), their scores.
        boxes: The box head's predictions for them; None in training.
    """

    maps: tuple[Tensor, ...]
    logits: tuple[Tensor, ...]
    deltas: tuple[Tensor, ...]
    height: int
    width: int
    corners: Tensor
    scores: Tensor
    boxes: SemanticBoxes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionFeatures(VisualFeatures):
    """The regions of every image, which hold the maps."""

    regions: tuple[Regions, ...]

    def select(self, index: Tensor) -> RegionFeatures:
        """Returns the features of the images `index` (N,), as views."""
        return replace(self, padding=self.padding[index], regions=tuple(self.regions[row] for row in index.tolist()))


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryQuery:
    """The categories of a query.

    Attributes:
        vectors: (U + 1, D), word vectors; the first is that of the background.
        box_classes: (U,), the seen category, 1 to K, whose box regression each one uses.
    """

    vectors: Tensor
    box_classes: Tensor
