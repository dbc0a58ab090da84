"""Decodes a fused map by the words: CRIS's vision-language decoder (Wang et al., CVPR 2022, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from risctl.core.encoders.base import TextFeatures
from risctl.core.fusion.position import sinusoid


class CRISDecoderLayer(nn.Module):
    """Self-attention of the cells, attention to the words, and a feed-forward network with a norm inside.

    As in the published code, each branch is normed before and, for the attentions, after; keys carry positions, values
    do not.
    """

    def __init__(self, channels: int, *, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(channels)
        self.self_attention = nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)
        self.self_out_norm = nn.LayerNorm(channels)
        self.word_norm = nn.LayerNorm(channels)
        self.word_attention = nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)
        self.word_out_norm = nn.LayerNorm(channels)
        self.norm = nn.LayerNorm(channels)
        self.feed_forward = nn.Sequential(
            nn.Linear(channels, feed_forward),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.LayerNorm(feed_forward),
            nn.Linear(feed_forward, channels),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, cells: Tensor, position: Tensor, keys: Tensor, text: TextFeatures, *, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Updates cells.

        Args:
            cells: (B, N, C).
            position: Position encoding of the cells, (N, C).
            keys: The words with their positions, (B, L, C).
            text: The words.
            need_weights: Whether to return the attention to the words.

        Returns:
            Cells (B, N, C), and the attention of each cell to the words (B, N, L), the mean of the heads, or None.
        """
        normed = self.self_norm(cells)
        placed = normed + position
        attended = self.self_attention(placed, placed, normed, need_weights=False)[0]
        cells = cells + self.dropout(self.self_out_norm(attended))
        placed = self.word_norm(cells) + position
        attended, weights = self.word_attention(
            placed, keys, text.words, key_padding_mask=~text.mask, need_weights=need_weights
        )
        cells = cells + self.dropout(self.word_out_norm(attended))
        return cells + self.dropout(self.feed_forward(self.norm(cells))), weights


class CRISDecoder(nn.Module):
    """Layers over the cells of a map, and a last norm."""

    def __init__(self, channels: int, *, layers: int, heads: int, feed_forward: int, dropout: float) -> None:
        """Builds the decoder; `channels` is a multiple of 4, half of which hold each coordinate."""
        super().__init__()
        self.layers = nn.ModuleList(
            CRISDecoderLayer(channels, heads=heads, feed_forward=feed_forward, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(self, fused: Tensor, text: TextFeatures, *, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Decodes a map.

        Args:
            fused: (B, C, h, w).
            text: The words, (B, L, C).
            need_weights: Whether to return the last layer's attention to the words.

        Returns:
            The map (B, C, h, w), and the share of its attention that each cell gives each word, (B, L, h, w), or None.
        """
        height, width = fused.shape[2:]
        position = positions_2d(height, width, channels=fused.shape[1], like=fused)
        keys = text.words + sinusoid(text.words.shape[1], text.words.shape[2], like=text.words)
        cells, weights = fused.flatten(2).transpose(1, 2), None
        for number, layer in enumerate(self.layers, start=1):
            shown = need_weights and number == len(self.layers)
            cells, weights = layer(cells, position, keys, text, need_weights=shown)
        decoded = self.norm(cells).transpose(1, 2).unflatten(2, (height, width))
        return decoded, None if weights is None else weights.transpose(1, 2).unflatten(2, (height, width))


def positions_2d(height: int, width: int, *, channels: int, like: Tensor) -> Tensor:
    """Returns sinusoids of the cells of a map, (height * width, channels): those of the column, then of the row."""
    columns = sinusoid(width, channels // 2, like=like)[None].expand(height, -1, -1)
    rows = sinusoid(height, channels // 2, like=like)[:, None].expand(-1, width, -1)
    return torch.cat([columns, rows], dim=-1).flatten(0, 1)
