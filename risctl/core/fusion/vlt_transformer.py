"""VLT's transformer (Ding et al., ICCV 2021): decodes the generated queries against the fused map."""

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
        """Maps (B, L, C) to the same shape."""
        return self.second(self.first(x).relu())


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward network, each with dropout, residual and post-norm."""

    def __init__(self, channels: int, *, heads: int, inner: int, dropout: float, projected_relu: bool) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(channels, heads=heads, projected_relu=projected_relu)
        self.attention_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.feed_forward = FeedForward(channels, inner)
        self.feed_forward_norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, L, C) to the same shape."""
        x = self.attention_norm(x + self.dropout(self.attention(x, x, x)[0]))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


class DecoderLayer(nn.Module):
    """Self-attention over the queries, cross-attention to the memory and feed-forward network, with post-norm."""

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
        """Decodes queries against the memory.

        Args:
            x: Queries (B, Q, C).
            memory: (B, L, C).
            need_weights: Whether to return the attention weights.

        Returns:
            Queries (B, Q, C), and cross-attention weights (B, Q, L), None unless `need_weights`.
        """
        x = self.self_attention_norm(x + self.dropout(self.self_attention(x, x, x, causal=self.causal)[0]))
        attended, weights = self.memory_attention(x, memory, memory, need_weights=need_weights)
        x = self.memory_attention_norm(x + self.dropout(attended))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x))), weights


class VLTTransformer(nn.Module):
    """Encoder over a map's cells in row order and decoder over the queries, a 1-D sinusoid added once to each input.

    The options `projected_relu` (a ReLU on all attention projections) and `causal` (query n attends to queries 0 to n
    only) follow the reference code. The paper mentions neither; without both this is the standard transformer.
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
        """Builds the transformer.

        Args:
            channels: Width C of cells and queries.
            heads: Attention heads.
            encoder_layers: Layers of the encoder.
            decoder_layers: Layers of the decoder.
            feed_forward: Width of the feed-forward networks.
            dropout: Dropout probability.
            projected_relu: Whether a ReLU follows each attention projection.
            causal: Whether self-attention over the queries is causal.
        """
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
        """Returns the memory (B, H W, C) of a map (B, C, H, W)."""
        x = fused.flatten(2).transpose(1, 2)
        x = x + sinusoid(x.shape[1], x.shape[2], like=x)
        for layer in self.encoder:
            x = layer(x)
        return x

    def decode(self, queries: Tensor, memory: Tensor, *, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Decodes queries against the memory.

        Args:
            queries: (B, Q, C).
            memory: (B, H W, C).
            need_weights: Whether to return the attention weights.

        Returns:
            Queries (B, Q, C), and the last layer's weights (B, Q, H W), None unless `need_weights`.
        """
        queries = queries + sinusoid(queries.shape[1], queries.shape[2], like=queries)
        weights = None
        for layer in self.decoder:
            queries, weights = layer(queries, memory, need_weights=need_weights and layer is self.decoder[-1])
        return queries, weights
