"""Background-aware region proposals of ZSI (section 3.4): "is there anything?" is asked in word space.

Each cell is mapped to a word vector and compared, for each of three anchors, with two learned vectors: background,
which begins as the mean word vector of the classes, and foreground.
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
    """Regions of one picture that may hold something: corners (N, 4) xyxy in input pixels, scores (N,)."""

    corners: Tensor
    scores: Tensor


class BackgroundRPN(nn.Module):
    """One small network for the maps of all levels."""

    def __init__(self, channels: int, *, dim: int) -> None:
        """channels: of the maps; dim: of word vectors."""
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.to_words = nn.Conv2d(channels, dim, 1)
        self.compare = nn.Conv2d(dim, 2 * _ANCHORS, 1, bias=False)
        self.deltas = nn.Conv2d(channels, 4 * _ANCHORS, 1)
        for layer in (self.conv, self.to_words, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.compare.weight)

    def set_background(self, background: Tensor) -> None:
        """Set the background vector of every anchor to `background` (D,)."""
        with torch.no_grad():
            self.compare.weight[0::2] = background[:, None, None]

    @property
    def background(self) -> Tensor:
        """v_b (D,): what has been learned to be background, the mean over the anchors."""
        return self.compare.weight[0::2, :, 0, 0].mean(0)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return for maps (B, C, H_i, W_i): logits (B, 6, H_i, W_i), a pair (background, foreground) an anchor, and
        deltas (B, 12, H_i, W_i)."""
        hidden = [self.conv(one).relu() for one in maps]
        return [self.compare(self.to_words(one)) for one in hidden], [self.deltas(one) for one in hidden]


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
        """Return the proposals of one picture of `height` x `width`, of (6, H_i, W_i) logits and (12, H_i, W_i) deltas
        of `BackgroundRPN`."""
        found, scores = [], []
        for logit, delta, anchor in zip(logits, deltas, anchors, strict=True):
            score = pairs(logit).softmax(-1)[:, 1]
            best = score.topk(min(self.pre_nms_count, len(score))).indices
            corners = conventions.decode(
                anchor[best], flatten_deltas(delta)[best], stds=_STDS, height=height, width=width
            )
            kept = conventions.suppress(corners, score[best], iou=self.iou_threshold)[: self.post_nms_count]
            found.append(corners[kept])
            scores.append(score[best][kept])
        joint = torch.cat(scores)
        best = joint.topk(min(self.max_count, len(joint))).indices
        return Proposals(corners=torch.cat(found)[best], scores=joint[best])


def pairs(logits: Tensor) -> Tensor:
    """Return logits (6, H, W) as (H * W * 3, 2), in the anchors' order."""
    return logits.permute(1, 2, 0).reshape(-1, 2)


def flatten_deltas(deltas: Tensor) -> Tensor:
    """Return deltas (12, H, W) as (H * W * 3, 4), in the anchors' order."""
    return deltas.permute(1, 2, 0).reshape(-1, 4)
