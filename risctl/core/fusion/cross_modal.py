"""Where ReferFormer's maps meet the words: early fusion, and the vision-language block of its pyramid.

Clips are (B, T, C, h, w); all frames of a clip ask together, as one sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.base import TextFeatures
from risctl.core.fusion.deformable_transformer import FeedForward
from risctl.core.fusion.sine_position import sine_position_1d


def to_sequence(clip: Tensor) -> Tensor:
    """Return (B, T * h * w, C) of a clip (B, T, C, h, w)."""
    return clip.permute(0, 1, 3, 4, 2).flatten(1, 3)


def to_clip(sequence: Tensor, *, like: Tensor) -> Tensor:
    """Return (B, T, C, h, w) of (B, T * h * w, C), T, h and w as `like` has them."""
    frames, height, width = like.shape[1], *like.shape[3:]
    return sequence.unflatten(1, (frames, height, width)).permute(0, 1, 4, 2, 3)


class EarlyFusion(nn.Module):
    """Maps multiplied by what they read of the words: q without position, k words with theirs, v words; no dropout."""

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        nn.init.xavier_uniform_(self.attention.out_proj.weight)

    def forward(self, clip: Tensor, text: TextFeatures) -> Tensor:
        """Map a clip (B, T, C, h, w) to the same shape."""
        asked = to_sequence(clip)
        keys = text.words + sine_position_1d(text.mask, channels=text.words.shape[2])
        read = self.attention(asked, keys, text.words, key_padding_mask=~text.mask, need_weights=False)[0]
        return to_clip(asked * read, like=clip)


class CrossModalBlock(nn.Module):
    """Cells look at each other over all frames, then at the words.

    Fine maps are too long for that: they look at each other on a map `reduction` times coarser (every `reduction`-th
    cell), and what they saw is laid back bilinearly.
    """

    def __init__(self, channels: int, *, heads: int, feed_forward: int, dropout: float, reduction: int) -> None:
        super().__init__()
        self.reduction = reduction
        self.self_attention = nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)
        self.self_norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)
        self.norm = nn.LayerNorm(channels)
        self.feed_forward = FeedForward(channels, feed_forward, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, clip: Tensor, position: Tensor, padding: Tensor, text: TextFeatures) -> Tensor:
        """Map a clip (B, T, C, h, w), with the position (B, C, h, w) and padding (B, h, w) of a frame, to its shape."""
        seen = self._look(clip, position, padding)
        if torch.is_grad_enabled():
            return self._ask(clip, seen, position, text)
        # From here on each cell is for itself: a frame at a time, what is made on the way is small.
        frames = zip(clip.split(1, dim=1), seen.split(1, dim=1), strict=True)
        return torch.cat([self._ask(one, looked, position, text) for one, looked in frames], dim=1)

    def _ask(self, clip: Tensor, seen: Tensor, position: Tensor, text: TextFeatures) -> Tensor:
        cells = self.self_norm(to_sequence(clip) + self.dropout(to_sequence(seen)))
        placed = to_sequence(position[:, None].expand(-1, clip.shape[1], -1, -1, -1))
        keys = text.words + sine_position_1d(text.mask, channels=text.words.shape[2])
        read = self.attention(cells + placed, keys, text.words, key_padding_mask=~text.mask, need_weights=False)[0]
        return to_clip(self.feed_forward(self.norm(cells + self.dropout(read))), like=clip)

    def _look(self, clip: Tensor, position: Tensor, padding: Tensor) -> Tensor:
        frames, height, width = clip.shape[1], *clip.shape[3:]
        placed = clip + position[:, None]
        coarse = clip
        if self.reduction > 1:
            # The published sizes would be 0 for maps smaller than the reduction.
            size = (max(1, height // self.reduction), max(1, width // self.reduction))
            placed, coarse = _nearest(placed, size), _nearest(clip, size)
            padding = functional.interpolate(padding[:, None].float(), size=size, mode="nearest")[:, 0].bool()
        hidden = padding[:, None].expand(-1, frames, -1, -1).flatten(1)
        asked = to_sequence(placed)
        seen = self.self_attention(asked, asked, to_sequence(coarse), key_padding_mask=hidden, need_weights=False)[0]
        back = to_clip(seen, like=coarse)
        if self.reduction == 1:
            return back
        laid = functional.interpolate(back.flatten(0, 1), size=(height, width), mode="bilinear", align_corners=False)
        return laid.unflatten(0, (len(clip), frames))


def _nearest(clip: Tensor, size: tuple[int, int]) -> Tensor:
    reduced = functional.interpolate(clip.flatten(0, 1), size=size, mode="nearest")
    return reduced.unflatten(0, tuple(clip.shape[:2]))
