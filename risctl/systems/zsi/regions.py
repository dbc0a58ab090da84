"""What ZSI saw in a picture, and what it is asked about it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from risctl.core.encoders.base import VisualFeatures
from risctl.core.heads.semantic_box import SemanticBoxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """What was seen in one picture of `height` x `width` input pixels.

    maps: five, (1, C, H_i, W_i), strides 4 to 64; logits and deltas of the proposals, a level each; corners (R, 4) and
    scores (R,) of the proposed regions; boxes: what the box head says of them, None in training.
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
    """The regions of every picture; the maps are theirs."""

    regions: tuple[Regions, ...]

    def select(self, index: Tensor) -> RegionFeatures:
        """Return the features of the images `index` (N,), as views."""
        return replace(self, padding=self.padding[index], regions=tuple(self.regions[one] for one in index.tolist()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Classes to look for: vectors (U + 1, D), the first for background, and whose boxes they get, (U,) of 1 to K."""

    vectors: Tensor
    box_classes: Tensor
