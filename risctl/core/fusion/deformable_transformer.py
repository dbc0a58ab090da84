"""ReferFormer's transformer: Deformable DETR's, its queries made of the sentence (Wu et al., CVPR 2022).

Frames are rows of the batch: nothing here mixes them. Boxes are refined from layer to layer, each layer's references
cut off from the gradient of the ones before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from risctl.core.fusion.deformable_attention import DeformableAttention

_TOKENS = 16_384
"""Tokens that pass a feed-forward at once, where no gradient is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderMemory:
    """What the encoder made of N frames: the cells of all maps one after the other.

    tokens: (N, S, C); padding: (N, S) bool; shapes: (height, width) of each map; shares: (N, levels, 2), the picture's
    share of each map's width and height.
    """

    tokens: Tensor
    padding: Tensor
    shapes: tuple[tuple[int, int], ...]
    shares: Tensor

    def maps(self) -> list[Tensor]:
        """Return the tokens as maps (N, C, h, w)."""
        parts = self.tokens.split([height * width for height, width in self.shapes], dim=1)
        return [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, self.shapes, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderOutput:
    """What the decoder found. states: (layers, N, Q, C); initial: (N, Q, 2), the first reference centres;

    boxes: (layers, N, Q, 4), (cx, cy, w, h) after each layer in shares of the picture.
    """

    states: Tensor
    initial: Tensor
    boxes: Tensor


def inverse_sigmoid(x: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Return the logit of x in [0, 1], both shares kept above `epsilon`."""
    x = x.clamp(0, 1)
    return (x.clamp(min=epsilon) / (1 - x).clamp(min=epsilon)).log()


class FeedForward(nn.Module):
    """Two layers, the sum with the input, and a norm.

    Where no gradient is kept, a part of the tokens at a time: the inner width takes eight times the memory of the rest.
    """

    def __init__(self, channels: int, inner: int, *, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(channels, inner)
        self.second = nn.Linear(inner, channels)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., C) to the same shape."""
        if torch.is_grad_enabled() or x.numel() <= _TOKENS * x.shape[-1]:
            return self._whole(x)
        return torch.cat([self._whole(part) for part in x.flatten(0, -2).split(_TOKENS)]).view(x.shape)

    def _whole(self, x: Tensor) -> Tensor:
        return self.norm(x + self.dropout(self.second(self.dropout(self.first(x).relu_()))))


class EncoderLayer(nn.Module):
    """Every cell reads its surroundings in all maps."""

    def __init__(
        self, channels: int, *, heads: int, levels: int, points: int, feed_forward: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels, heads=heads, levels=levels, points=points)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.feed_forward = FeedForward(channels, feed_forward, dropout=dropout)

    def forward(self, tokens: Tensor, position: Tensor, references: Tensor, memory: EncoderMemory) -> Tensor:
        """Map tokens (N, S, C) with their positions to the same shape; shapes and padding are those of `memory`."""
        read = self.attention(tokens + position, references, tokens, memory.shapes, memory.padding)
        return self.feed_forward(self.norm(tokens + self.dropout(read)))


class DecoderLayer(nn.Module):
    """Queries look at each other, then at the memory around their references."""

    def __init__(
        self, channels: int, *, heads: int, levels: int, points: int, feed_forward: int, dropout: float
    ) -> None:
        super().__init__()
        self.self_attention = nn.MultiheadAttention(channels, heads, dropout=dropout, batch_first=True)
        self.self_norm = nn.LayerNorm(channels)
        self.attention = DeformableAttention(channels, heads=heads, levels=levels, points=points)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.feed_forward = FeedForward(channels, feed_forward, dropout=dropout)

    def forward(self, queries: Tensor, position: Tensor, references: Tensor, memory: EncoderMemory) -> Tensor:
        """Map queries (N, Q, C) with their positions to the same shape; references as in `DeformableAttention`."""
        placed = queries + position
        seen = self.self_attention(placed, placed, queries, need_weights=False)[0]
        queries = self.self_norm(queries + self.dropout(seen))
        read = self.attention(queries + position, references, memory.tokens, memory.shapes, memory.padding)
        return self.feed_forward(self.norm(queries + self.dropout(read)))


class DeformableTransformer(nn.Module):
    """Maps to a memory, and queries to what they find in it."""

    def __init__(
        self,
        channels: int,
        *,
        heads: int = 8,
        encoder_layers: int = 4,
        decoder_layers: int = 4,
        feed_forward: int = 2048,
        dropout: float = 0.1,
        levels: int = 4,
        points: int = 4,
    ) -> None:
        super().__init__()
        numbers = {"heads": heads, "levels": levels, "points": points, "feed_forward": feed_forward}
        self.encoder = nn.ModuleList(EncoderLayer(channels, **numbers, dropout=dropout) for _ in range(encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(channels, **numbers, dropout=dropout) for _ in range(decoder_layers))
        for layer in (*self.encoder, *self.decoder):
            for name, parameter in layer.named_parameters():
                if parameter.ndim > 1 and not name.startswith("attention."):
                    nn.init.xavier_uniform_(parameter)
        self.level = nn.Parameter(torch.randn(levels, channels))
        self.reference = nn.Linear(channels, 2)
        nn.init.xavier_uniform_(self.reference.weight)
        nn.init.zeros_(self.reference.bias)

    def encode(self, maps: Sequence[Tensor], paddings: Sequence[Tensor], positions: Sequence[Tensor]) -> EncoderMemory:
        """Encode the frames' maps, each (N, C, h, w), with paddings (N, h, w) and positions (N, C, h, w)."""
        shapes = tuple((one.shape[2], one.shape[3]) for one in maps)
        tokens = torch.cat([one.flatten(2).transpose(1, 2) for one in maps], dim=1)
        position = torch.cat(
            [one.flatten(2).transpose(1, 2) + level for one, level in zip(positions, self.level, strict=True)], dim=1
        )
        shares = torch.stack([_picture_share(one) for one in paddings], dim=1)
        padding = torch.cat([one.flatten(1) for one in paddings], dim=1)
        references = _cell_centres(shapes, shares)
        memory = EncoderMemory(tokens=tokens, padding=padding, shapes=shapes, shares=shares)
        for layer in self.encoder:
            tokens = layer(tokens, position, references, memory)
        return EncoderMemory(tokens=tokens, padding=padding, shapes=shapes, shares=shares)

    def decode(self, queries: Tensor, position: Tensor, memory: EncoderMemory, boxes: nn.ModuleList) -> DecoderOutput:
        """Let queries (N, Q, C) with positions (Q, C) look into `memory`.

        boxes: a module a layer, (N, Q, C) to (N, Q, 4), whose output moves the layer's references.
        """
        position = position[None].expand(len(queries), -1, -1)
        initial = references = self.reference(position).sigmoid()
        states, refined = [], []
        for layer, box in zip(self.decoder, boxes, strict=True):
            shares = memory.shares.repeat(1, 1, references.shape[2] // 2)
            queries = layer(queries, position, references[:, :, None] * shares[:, None], memory)
            moved = box(queries)
            if references.shape[2] == 4:
                refined.append((moved + inverse_sigmoid(references)).sigmoid())
            else:
                centre = moved[..., :2] + inverse_sigmoid(references)
                refined.append(torch.cat([centre, moved[..., 2:]], dim=-1).sigmoid())
            references = refined[-1].detach()
            states.append(queries)
        return DecoderOutput(states=torch.stack(states), initial=initial, boxes=torch.stack(refined))


def _picture_share(padding: Tensor) -> Tensor:
    """Return (N, 2): the picture's share of the width and of the height of maps with padding (N, h, w)."""
    _, height, width = padding.shape
    rows, columns = (~padding[:, :, 0]).sum(1), (~padding[:, 0, :]).sum(1)
    return torch.stack([columns / width, rows / height], dim=1)


def _cell_centres(shapes: Sequence[tuple[int, int]], shares: Tensor) -> Tensor:
    """Return (N, S, levels, 2): each cell's centre as a share of its picture, in the terms of every map."""
    centres = []
    for level, (height, width) in enumerate(shapes):
        y = torch.linspace(0.5, height - 0.5, height, device=shares.device)
        x = torch.linspace(0.5, width - 0.5, width, device=shares.device)
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)  # (h * w, 2)
        extent = shares[:, None, level] * torch.tensor([width, height], device=shares.device)
        centres.append(grid[None] / extent)
    return torch.cat(centres, dim=1)[:, :, None] * shares[:, None]
