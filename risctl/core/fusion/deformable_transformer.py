"""ReferFormer's transformer: Deformable DETR conditioned on the sentence (Wu et al., CVPR 2022).

Frames are rows of the batch; nothing here mixes them. Boxes are refined from layer to layer, and each layer's reference
points are detached from the layers before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from risctl.core.fusion.deformable_attention import DeformableAttention

_TOKENS = 16_384
"""Tokens per chunk of a feed-forward network without gradients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderMemory:
    """The encoder's output for N frames: the cells of all levels one after the other.

    Attributes:
        tokens: (N, S, C).
        padding: (N, S) bool, True outside the image.
        shapes: Height and width of each level.
        valid_ratios: (N, levels, 2), the image's fraction of each level's width and height.
    """

    tokens: Tensor
    padding: Tensor
    shapes: tuple[tuple[int, int], ...]
    valid_ratios: Tensor

    def maps(self) -> list[Tensor]:
        """Returns the tokens as maps (N, C, h, w), one per level."""
        parts = self.tokens.split([height * width for height, width in self.shapes], dim=1)
        return [part.transpose(1, 2).unflatten(2, shape) for part, shape in zip(parts, self.shapes, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderOutput:
    """The decoder's output.

    Attributes:
        states: (layers, N, Q, C).
        initial: (N, Q, 2), the initial reference points.
        boxes: (layers, N, Q, 4), (cx, cy, w, h) after each layer as fractions of the image.
        centres: (layers, N, Q, 2), where each layer's masks lie: the centres of its boxes, detached, or without
            refinement the initial reference points.
    """

    states: Tensor
    initial: Tensor
    boxes: Tensor
    centres: Tensor


def inverse_sigmoid(x: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    """Returns the logit of x in [0, 1], with x and 1 - x bounded below by `epsilon`."""
    x = x.clamp(0, 1)
    return (x.clamp(min=epsilon) / (1 - x).clamp(min=epsilon)).log()


class FeedForward(nn.Module):
    """Two linear layers, residual and layer norm.

    Without gradients, tokens are processed in chunks: the inner width takes eight times the memory of the rest.
    """

    def __init__(self, channels: int, inner: int, *, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(channels, inner)
        self.second = nn.Linear(inner, channels)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., C) to the same shape."""
        if torch.compiler.is_compiling() or torch.is_grad_enabled() or x.numel() <= _TOKENS * x.shape[-1]:
            return self._forward_chunk(x)
        return torch.cat([self._forward_chunk(part) for part in x.flatten(0, -2).split(_TOKENS)]).view(x.shape)

    def _forward_chunk(self, x: Tensor) -> Tensor:
        return self.norm(x + self.dropout(self.second(self.dropout(self.first(x).relu_()))))


class EncoderLayer(nn.Module):
    """Deformable self-attention over all levels, then a feed-forward network."""

    def __init__(
        self, channels: int, *, heads: int, levels: int, points: int, feed_forward: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = DeformableAttention(channels, heads=heads, levels=levels, points=points)
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)
        self.feed_forward = FeedForward(channels, feed_forward, dropout=dropout)

    def forward(self, tokens: Tensor, position: Tensor, references: Tensor, memory: EncoderMemory) -> Tensor:
        """Maps tokens (N, S, C) to the same shape.

        Args:
            tokens: (N, S, C).
            position: Position encodings (N, S, C).
            references: Reference points (N, S, levels, 2).
            memory: Holds the shapes and padding of the levels.
        """
        read = self.attention(tokens + position, references, tokens, memory.shapes, memory.padding)
        return self.feed_forward(self.norm(tokens + self.dropout(read)))


PUBLISHED_ENCODER_NAMES = {
    "self_attn.sampling_offsets": "attention.offsets",
    "self_attn.attention_weights": "attention.weights",
    "self_attn.value_proj": "attention.value",
    "self_attn.output_proj": "attention.out",
    "norm1": "norm",
    "linear1": "feed_forward.first",
    "linear2": "feed_forward.second",
    "norm2": "feed_forward.norm",
}
"""The parameters of an encoder layer as Deformable DETR's code and its descendants name them, and ours."""


class DecoderLayer(nn.Module):
    """Self-attention over the queries, deformable attention to the memory, then a feed-forward network."""

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
        """Maps queries (N, Q, C) to the same shape.

        Args:
            queries: (N, Q, C).
            position: Position embeddings of the queries, (N, Q, C).
            references: As in `DeformableAttention`.
            memory: The encoder's output.
        """
        placed = queries + position
        seen = self.self_attention(placed, placed, queries, need_weights=False)[0]
        queries = self.self_norm(queries + self.dropout(seen))
        read = self.attention(queries + position, references, memory.tokens, memory.shapes, memory.padding)
        return self.feed_forward(self.norm(queries + self.dropout(read)))


def encode_levels(
    layers: nn.ModuleList,
    levels: Tensor,
    maps: Sequence[Tensor],
    paddings: Sequence[Tensor],
    positions: Sequence[Tensor],
) -> EncoderMemory:
    """Encodes the maps of N frames together.

    Args:
        layers: `EncoderLayer`s.
        levels: The embedding of each level, (levels, C).
        maps: (N, C, h, w), one per level.
        paddings: (N, h, w) bool, True outside the image.
        positions: Position encodings (N, C, h, w).
    """
    shapes = tuple((feature_map.shape[2], feature_map.shape[3]) for feature_map in maps)
    tokens = torch.cat([feature_map.flatten(2).transpose(1, 2) for feature_map in maps], dim=1)
    position = torch.cat(
        [one.flatten(2).transpose(1, 2) + level for one, level in zip(positions, levels, strict=True)], dim=1
    )
    valid_ratios = torch.stack([_valid_ratio(one) for one in paddings], dim=1)
    padding = torch.cat([one.flatten(1) for one in paddings], dim=1)
    references = _cell_centres(shapes, valid_ratios)
    memory = EncoderMemory(tokens=tokens, padding=padding, shapes=shapes, valid_ratios=valid_ratios)
    for layer in layers:
        tokens = layer(tokens, position, references, memory)
    return EncoderMemory(tokens=tokens, padding=padding, shapes=shapes, valid_ratios=valid_ratios)


class DeformableTransformer(nn.Module):
    """Encoder over multi-scale maps and decoder over queries with iterative box refinement."""

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
        """Builds the transformer.

        Args:
            channels: Width C of tokens and queries.
            heads: Attention heads.
            encoder_layers: Layers of the encoder.
            decoder_layers: Layers of the decoder.
            feed_forward: Width of the feed-forward networks.
            dropout: Dropout probability.
            levels: Number of maps.
            points: Sampled points per head and level.
        """
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
        """Encodes the maps of N frames.

        Args:
            maps: (N, C, h, w), one per level.
            paddings: (N, h, w) bool, True outside the image.
            positions: Position encodings (N, C, h, w).
        """
        return encode_levels(self.encoder, self.level, maps, paddings, positions)

    def decode(
        self,
        queries: Tensor,
        position: Tensor,
        memory: EncoderMemory,
        boxes: Iterable[nn.Module],
        *,
        refine: bool = True,
    ) -> DecoderOutput:
        """Decodes queries against the memory.

        Args:
            queries: (N, Q, C).
            position: Position embeddings of the queries, (Q, C).
            memory: The encoder's output.
            boxes: One module per layer, (N, Q, C) to (N, Q, 4), whose output refines the layer's reference points.
            refine: Whether a layer's boxes are the next one's reference points; else all have the initial ones.
        """
        position = position[None].expand(queries.shape[0], -1, -1)
        initial = references = self.reference(position).sigmoid()
        states, refined, centres = [], [], []
        for layer, box in zip(self.decoder, boxes, strict=True):
            valid_ratios = memory.valid_ratios.repeat(1, 1, references.shape[2] // 2)
            queries = layer(queries, position, references[:, :, None] * valid_ratios[:, None], memory)
            moved = box(queries)
            if references.shape[2] == 4:
                refined.append((moved + inverse_sigmoid(references)).sigmoid())
            else:
                centre = moved[..., :2] + inverse_sigmoid(references)
                refined.append(torch.cat([centre, moved[..., 2:]], dim=-1).sigmoid())
            if refine:
                references = refined[-1].detach()
            centres.append(references[..., :2])
            states.append(queries)
        return DecoderOutput(
            states=torch.stack(states), initial=initial, boxes=torch.stack(refined), centres=torch.stack(centres)
        )


def _valid_ratio(padding: Tensor) -> Tensor:
    """Returns (N, 2): the image's fraction of the width and height of maps with padding (N, h, w)."""
    _, height, width = padding.shape
    rows, columns = (~padding[:, :, 0]).sum(1), (~padding[:, 0, :]).sum(1)
    return torch.stack([columns / width, rows / height], dim=1)


def _middles(side: int, *, like: Tensor) -> Tensor:
    """Returns the centres of `side` cells."""
    if torch.compiler.is_compiling():  # the side may be unknown there
        return torch.arange(side, device=like.device) + 0.5
    return torch.linspace(0.5, side - 0.5, side, device=like.device)


def _cell_centres(shapes: Sequence[tuple[int, int]], valid_ratios: Tensor) -> Tensor:
    """Returns (N, S, levels, 2): the centre of each cell as a fraction of its image, in every level's coordinates."""
    centres = []
    for level, (height, width) in enumerate(shapes):
        y, x = (_middles(side, like=valid_ratios) for side in (height, width))
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)  # (h * w, 2)
        ratio = valid_ratios[:, None, level]
        extent = torch.stack([ratio[..., 0] * width, ratio[..., 1] * height], dim=-1)
        centres.append(grid[None] / extent)
    return torch.cat(centres, dim=1)[:, :, None] * valid_ratios[:, None]
