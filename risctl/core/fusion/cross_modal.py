"""Early fusion and the vision-language block of ReferFormer's pixel decoder (Wu et al., CVPR 2022).

Clips are (B, T, C, h, w); all frames of a clip attend to the words as one sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.base import TextFeatures
from risctl.core.fusion.deformable_transformer import FeedForward
from risctl.core.fusion.sine_position import sine_position_1d


def to_sequence(clip: Tensor) -> Tensor:
    """Flattens a clip (B, T, C, h, w) to (B, T * h * w, C)."""
    return clip.permute(0, 1, 3, 4, 2).flatten(1, 3)


def to_clip(sequence: Tensor, *, like: Tensor) -> Tensor:
    """Unflattens (B, T * h * w, C) to (B, T, C, h, w), with T, h and w of `like`."""
    frames, height, width = like.shape[1], *like.shape[3:]
    return sequence.unflatten(1, (frames, height, width)).permute(0, 1, 4, 2, 3)


class EarlyFusion(nn.Module):
    """Multiplies feature maps by their cross-attention to the words.

    Queries carry no position, keys do; there is no dropout, as published.
    """

    def __init__(self, channels: int, *, heads: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        nn.init.xavier_uniform_(self.attention.out_proj.weight)

    def forward(self, clip: Tensor, text: TextFeatures) -> Tensor:
        """Maps a clip (B, T, C, h, w) to the same shape."""
        queries = to_sequence(clip)
        keys = text.words + sine_position_1d(text.mask, channels=text.words.shape[2])
        attended = self.attention(queries, keys, text.words, key_padding_mask=~text.mask, need_weights=False)[0]
        return to_clip(queries * attended, like=clip)


class CrossModalBlock(nn.Module):
    """Self-attention over a clip's cells, cross-attention to the words, and a feed-forward network.

    Self-attention runs on a coarser grid, every `reduction`-th cell by nearest neighbour, and its output is upsampled
    bilinearly.
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
        """Maps a clip to the same shape.

        Args:
            clip: (B, T, C, h, w).
            position: Position encoding of a frame, (B, C, h, w).
            padding: (B, h, w), True outside the image.
            text: The words' features.
        """
        attended = self._attend_to_cells(clip, position, padding)
        if torch.compiler.is_compiling() or torch.is_grad_enabled():
            return self._attend_to_words(clip, attended, position, text)
        # From here on cells are independent: one frame at a time keeps intermediate tensors small.
        frames = zip(clip.split(1, dim=1), attended.split(1, dim=1), strict=True)
        return torch.cat([self._attend_to_words(frame, attended, position, text) for frame, attended in frames], dim=1)

    def _attend_to_words(self, clip: Tensor, attended: Tensor, position: Tensor, text: TextFeatures) -> Tensor:
        cells = self.self_norm(to_sequence(clip) + self.dropout(to_sequence(attended)))
        placed = to_sequence(_for_frames(position, clip.shape[1]))
        keys = text.words + sine_position_1d(text.mask, channels=text.words.shape[2])
        attended = self.attention(cells + placed, keys, text.words, key_padding_mask=~text.mask, need_weights=False)[0]
        return to_clip(self.feed_forward(self.norm(cells + self.dropout(attended))), like=clip)

    def _attend_to_cells(self, clip: Tensor, position: Tensor, padding: Tensor) -> Tensor:
        frames, height, width = clip.shape[1], *clip.shape[3:]
        placed = clip + position[:, None]
        coarse = clip
        if self.reduction > 1:
            # The published sizes would be 0 for maps smaller than the reduction.
            size = (height // self.reduction, width // self.reduction)
            if not torch.compiler.is_compiling():  # whose maps are never that small
                size = (max(1, size[0]), max(1, size[1]))
            placed, coarse = _nearest(placed, size), _nearest(clip, size)
            padding = functional.interpolate(padding[:, None].float(), size=size, mode="nearest")[:, 0].bool()
        hidden = _for_frames(padding, frames).flatten(1)
        queries = to_sequence(placed)
        attended = self.self_attention(
            queries, queries, to_sequence(coarse), key_padding_mask=hidden, need_weights=False
        )[0]
        back = to_clip(attended, like=coarse)
        if self.reduction == 1:
            return back
        upsampled = functional.interpolate(
            back.flatten(0, 1), size=(height, width), mode="bilinear", align_corners=False
        )
        return upsampled.unflatten(0, (clip.shape[0], frames))


def _for_frames(maps: Tensor, frames: int) -> Tensor:
    """Gives each frame of a clip what the clip has, (B, ...) to (B, T, ...)."""
    if torch.compiler.is_compiling():  # whether a view can be flattened would depend on the numbers of clips and frames
        return maps[:, None].repeat(1, frames, *[1] * (maps.ndim - 1))
    return maps[:, None].expand(-1, frames, *maps.shape[1:])


def _nearest(clip: Tensor, size: tuple[int, int]) -> Tensor:
    reduced = functional.interpolate(clip.flatten(0, 1), size=size, mode="nearest")
    return reduced.unflatten(0, tuple(clip.shape[:2]))
