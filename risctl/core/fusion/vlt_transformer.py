"""VLT's transformer: the fused map is the memory, the generated queries are what the decoder refines."""

from __future__ import annotations

from torch import Tensor, nn

from risctl.core.fusion.attention import MultiHeadAttention
from risctl.core.fusion.position import sinusoid

NORM_EPS = 1e-14
"""keras-layer-normalization's epsilon squared; torch's 1e-5 would move what nearly constant rows give."""


class FeedForward(nn.Module):
    """Linear, ReLU, linear."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(channels, inner), nn.Linear(inner, channels)
        for layer in (self.first, self.second):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, C) to the same shape."""
        return self.second(self.first(x).relu())


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each with dropout, residual and then norm."""

    def __init__(self, channels: int, *, heads: int, inner: int, dropout: float, projected_relu: bool) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(channels, heads=heads, projected_relu=projected_relu)
        self.attention_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.feed_forward = FeedForward(channels, inner)
        self.feed_forward_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, L, C) to the same shape."""
        x = self.attention_norm(x + self.dropout(self.attention(x, x, x)[0]))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class DecoderLayer(nn.Module):
    """Self-attention over the queries, attention to the memory, feed-forward; post-norm."""

    def __init__(
        self, channels: int, *, heads: int, inner: int, dropout: float, projected_relu: bool, causal: bool
    ) -> None:
        super().__init__()
        self.causal = causal
        self.self_attention = MultiHeadAttention(channels, heads=heads, projected_relu=projected_relu)
        self.self_attention_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.memory_attention = MultiHeadAttention(channels, heads=heads, projected_relu=projected_relu)
        self.memory_attention_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.feed_forward = FeedForward(channels, inner)
        self.feed_forward_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor, *, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Refine queries x (B, Q, C) by memory (B, L, C); the weights are (B, Q, L), if asked for."""
        x = self.self_attention_norm(x + self.dropout(self.self_attention(x, x, x, causal=self.causal)[0]))
        seen, weights = self.memory_attention(x, memory, memory, need_weights=need_weights)
        x = self.memory_attention_norm(x + self.dropout(seen))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x))), weights


class VLTTransformer(nn.Module):
    """Encoder over a map's cells, row by row; decoder over the queries. A 1-D sinusoid is added once to each's input.

    projected_relu and causal are the reference's: a ReLU on all attention projections, and queries that see only
    themselves and the queries before them. The paper mentions neither; without both this is the standard transformer.
    """

    def __init__(
        self,
        channels: int = 256,
        *,
        heads: int = 8,
        encoder_layers: int = 2,
        decoder_layers: int = 2,
        feed_forward: int = 256,
        dropout: float = 0.1,
        projected_relu: bool = True,
        causal: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(
            EncoderLayer(channels, heads=heads, inner=feed_forward, dropout=dropout, projected_relu=projected_relu)
            for _ in range(encoder_layers)
        )
        self.decoder = nn.ModuleList(
            DecoderLayer(
                channels,
                heads=heads,
                inner=feed_forward,
                dropout=dropout,
                projected_relu=projected_relu,
                causal=causal,
            )
            for _ in range(decoder_layers)
        )

    def encode(self, fused: Tensor) -> Tensor:
        """Return the memory (B, H W, C) of a map (B, C, H, W)."""
        x = fused.flatten(2).transpose(1, 2)
        x = x + sinusoid(x.shape[1], x.shape[2], like=x)
        for layer in self.encoder:
            x = layer(x)
        return x

    def decode(self, queries: Tensor, memory: Tensor, *, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return queries (B, Q, C) refined by the memory, and the last layer's attention (B, Q, H W) if asked for."""
        queries = queries + sinusoid(queries.shape[1], queries.shape[2], like=queries)
        weights = None
        for layer in self.decoder:
            queries, weights = layer(queries, memory, need_weights=need_weights and layer is self.decoder[-1])
        return queries, weights
