"""VLT's query generation module (Ding et al., ICCV 2021): each query is a reading of the expression given the image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from risctl.core.blocks import ConvBlock, dense
from risctl.core.fusion.attention import MultiHeadAttention
from risctl.core.fusion.position import sinusoid, with_coordinates

COORDINATES = 6


class VisualQueries(nn.Module):
    """Maps features to one vector per query.

    Coordinate channels, three 3x3 blocks, a projection to one channel per query and a linear layer over the cells.
    """

    def __init__(
        self, inputs: int, *, cells: int, queries: int = 16, hidden: int = 256, norm_momentum: float = 0.01
    ) -> None:
        """Builds the module.

        Args:
            inputs: Channels of the map.
            cells: H * W of the map.
            queries: Number of queries Q.
            hidden: Width of the queries.
            norm_momentum: Momentum of the batch norms.
        """
        super().__init__()
        width = inputs + COORDINATES
        self.blocks = nn.Sequential(*(ConvBlock(width, width, kernel=3, norm_momentum=norm_momentum) for _ in range(3)))
        self.reduce = nn.Conv2d(width, queries, 1)
        nn.init.xavier_uniform_(self.reduce.weight)
        nn.init.zeros_(self.reduce.bias)  # type: ignore[arg-type]
        self.project = dense(cells, hidden)

    def forward(self, features: Tensor) -> Tensor:
        """Maps features (B, inputs, H, W) to (B, Q, hidden)."""
        return self.project(self.reduce(self.blocks(with_coordinates(features))).flatten(2)).relu()


class QueryGeneration(nn.Module):
    """Query generation of the reference code: visual queries attend to words, with a sinusoid on each and a residual.

    The residual adds the visual queries as they are before the sinusoid.
    """

    def __init__(self, *, visual: VisualQueries, words: int, hidden: int = 256, heads: int = 8) -> None:
        """Builds the module.

        Args:
            visual: Makes visual queries from a map.
            words: Width of the words' features.
            hidden: Width of the queries.
            heads: Attention heads.
        """
        super().__init__()
        self.visual = visual
        self.words = dense(words, hidden)
        self.query, self.key, self.value = (dense(hidden, hidden) for _ in range(3))
        self.attention = MultiHeadAttention(hidden, heads=heads, projected_relu=True)

    def forward(self, features: Tensor, words: Tensor, *, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Generates queries.

        Args:
            features: (B, C, H, W).
            words: (B, L, D).
            need_weights: Whether to return the attention weights.

        Returns:
            Queries (B, Q, hidden), and their weights over the words (B, Q, L), None unless `need_weights`.
        """
        visual = self.visual(features)
        text = self.words(words).relu()
        queries = visual + sinusoid(visual.shape[1], visual.shape[2], like=visual)
        text = text + sinusoid(text.shape[1], text.shape[2], like=text)
        out, weights = self.attention(
            self.query(queries).relu(), self.key(text).relu(), self.value(text).relu(), need_weights=need_weights
        )
        return out + visual, weights


class PlainQueryGeneration(nn.Module):
    """Query generation of the paper (ICCV 2021): one attention whose weights multiply projected words.

    a_ni = softmax_i(relu(f_n W_v) · relu(t_i W_a)); q_n = Σ_i a_ni relu(t_i W_t). One head, no sinusoids, no residual;
    the projections carry the paper's activation.
    """

    def __init__(self, *, visual: VisualQueries, words: int, hidden: int = 256) -> None:
        """Builds the module.

        Args:
            visual: Makes visual queries from a map.
            words: Width of the words' features.
            hidden: Width of the queries.
        """
        super().__init__()
        self.visual = visual
        self.query, self.key, self.value = dense(hidden, hidden), dense(words, hidden), dense(words, hidden)

    def forward(self, features: Tensor, words: Tensor, *, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Generates queries. See `QueryGeneration.forward`."""
        query = self.query(self.visual(features)).relu()
        weights = (query @ self.key(words).relu().transpose(1, 2)).softmax(dim=2)
        return weights @ self.value(words).relu(), weights if need_weights else None


class LearnedQueries(nn.Module):
    """Queries that are parameters, the same for every expression and image: what query generation replaces."""

    def __init__(self, *, queries: int = 16, hidden: int = 256) -> None:
        """Builds the module.

        Args:
            queries: Number of queries Q.
            hidden: Width of the queries.
        """
        super().__init__()
        self.vectors = nn.Parameter(torch.randn(queries, hidden))

    def forward(self, features: Tensor, words: Tensor, *, need_weights: bool = False) -> tuple[Tensor, Tensor | None]:
        """Returns the queries (B, Q, hidden) and weights over the words, zeros: they read none.

        Args:
            features: (B, C, H, W), not used.
            words: (B, L, D), whose number counts alone.
            need_weights: Whether to return weights (B, Q, L).
        """
        queries = self.vectors.expand(features.shape[0], -1, -1)
        return queries, words.new_zeros(*queries.shape[:2], words.shape[1]) if need_weights else None
