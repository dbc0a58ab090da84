"""Background-aware region proposal network of ZSI (Zheng et al., CVPR 2021).

Each cell is mapped to a word vector and compared, for each of three anchors, with two learned vectors: background,
which is initialised with the mean word vector of the classes, and foreground.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from risctl.core.heads.box_conventions import RATIOS, BoxConvention

_STDS = (1.0, 1.0, 1.0, 1.0)
_ANCHORS = len(RATIOS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """Region proposals of one image.

    Attributes:
        corners: (N, 4) xyxy in input pixels.
        scores: (N,) probabilities of foreground.
    """

    corners: Tensor
    scores: Tensor


class BackgroundRPN(nn.Module):
    """A region proposal network shared by all levels, whose classifier works in the space of word vectors."""

    def __init__(self, channels: int, *, dim: int) -> None:
        """Builds the network.

        Args:
            channels: Channels of the maps.
            dim: Dimension D of the word vectors.
        """
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        to_words = nn.Conv2d(channels, dim, 1)
        self.to_words: nn.Module = to_words
        self.compare = nn.Conv2d(dim, 2 * _ANCHORS, 1, bias=False)
        self.deltas = nn.Conv2d(channels, 4 * _ANCHORS, 1)
        for layer in (self.conv, to_words, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.compare.weight)

    def set_background(self, background: Tensor) -> None:
        """Sets the background vector of every anchor to `background` (D,)."""
        with torch.no_grad():
            self.compare.weight[0::2] = background[:, None, None]

    @property
    def background(self) -> Tensor | None:
        """The learned background vector v_b (D,), averaged over the anchors; None where nothing learns one."""
        return self.compare.weight[0::2, :, 0, 0].mean(0)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Scores and regresses the anchors of all levels.

        Args:
            maps: (B, C, H_i, W_i), one per level.

        Returns:
            Per level, logits (B, 6, H_i, W_i) with a pair (background, foreground) per anchor, and deltas
            (B, 12, H_i, W_i).
        """
        hidden = [self.conv(feature_map).relu() for feature_map in maps]
        return [self.compare(self.to_words(level)) for level in hidden], [self.deltas(level) for level in hidden]


class PlainRPN(BackgroundRPN):
    """The same network whose classifier knows no words, as in Faster R-CNN; it learns no background vector."""

    def __init__(self, channels: int) -> None:
        """Builds the network.

        Args:
            channels: Channels of the maps.
        """
        nn.Module.__init__(self)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.to_words = nn.Identity()
        self.compare = nn.Conv2d(channels, 2 * _ANCHORS, 1)
        self.deltas = nn.Conv2d(channels, 4 * _ANCHORS, 1)
        for layer in (self.conv, self.compare, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def set_background(self, background: Tensor) -> None:
        """Does nothing: there is no background vector."""

    @property
    def background(self) -> Tensor | None:
        """None."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposalFilter:
    """Selects the proposals of one image among the anchors of all levels.

    Attributes:
        pre_nms_count: Best-scored anchors of each level that enter non-maximum suppression.
        post_nms_count: Proposals of each level that are kept after it.
        max_count: Proposals of an image, all levels together.
        iou_threshold: Overlap above which the lower-scored of two boxes is suppressed.
    """

    pre_nms_count: int = 1000
    post_nms_count: int = 1000
    max_count: int = 1000
    iou_threshold: float = 0.7

    @torch.no_grad()
    def __call__(
        self,
        logits: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        *,
        conventions: BoxConvention,
        height: float,
        width: float,
    ) -> Proposals:
        """Returns the proposals of one image.

        Args:
            logits: (6, H_i, W_i) per level, from `BackgroundRPN`.
            deltas: (12, H_i, W_i) per level.
            anchors: (H_i * W_i * 3, 4) per level.
            conventions: How boxes are coded.
            height: Height of the image in input pixels.
            width: Width of the image in input pixels.
        """
        corners_by_level, scores = [], []
        for logit, delta, anchor in zip(logits, deltas, anchors, strict=True):
            score = flatten_logits(logit).softmax(-1)[:, 1]
            best = score.topk(min(self.pre_nms_count, len(score))).indices
            corners = conventions.decode(
                anchor[best], flatten_deltas(delta)[best], stds=_STDS, height=height, width=width
            )
            kept = conventions.nms(corners, score[best], iou_threshold=self.iou_threshold)[: self.post_nms_count]
            corners_by_level.append(corners[kept])
            scores.append(score[best][kept])
        joint = torch.cat(scores)
        best = joint.topk(min(self.max_count, len(joint))).indices
        return Proposals(corners=torch.cat(corners_by_level)[best], scores=joint[best])


def flatten_logits(logits: Tensor) -> Tensor:
    """Returns logits (6, H, W) as (H * W * 3, 2), in the order of the anchors."""
    return logits.permute(1, 2, 0).reshape(-1, 2)


def flatten_deltas(deltas: Tensor) -> Tensor:
    """Returns deltas (12, H, W) as (H * W * 3, 4), in the order of the anchors."""
    return deltas.permute(1, 2, 0).reshape(-1, 4)
