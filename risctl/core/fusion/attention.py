"""Multi-head attention of VLT, with an optional ReLU on every projection."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention (Vaswani et al., 2017, section 3.2) with VLT's ReLU on the projections.

    VLT's reference code uses keras-multi-head with `activation="relu"`, which applies a ReLU to the query, key, value
    and output projections. The paper does not mention it.
    """

    def __init__(self, channels: int, *, heads: int, projected_relu: bool = True) -> None:
        """Builds the attention.

        Args:
            channels: Width of queries, keys, values and outputs.
            heads: Number of heads; must divide `channels`.
            projected_relu: Whether a ReLU follows each projection, as in the reference; False is standard attention.

        Raises:
            ValueError: If `heads` does not divide `channels`.
        """
        super().__init__()
        if channels % heads:
            raise ValueError(f"expected channels divisible by {heads} heads, got {channels}")
        self.heads = heads
        self.projected_relu = projected_relu
        self.query, self.key, self.value, self.out = (nn.Linear(channels, channels) for _ in range(4))
        for layer in (self.query, self.key, self.value, self.out):
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Computes attention.

        Args:
            query: (B, Q, C).
            key: (B, L, C).
            value: (B, L, C).
            causal: Whether query n attends to keys 0 to n only.
            need_weights: Whether to return the attention weights.

        Returns:
            The output (B, Q, C), and the weights (B, Q, L) averaged over the heads, None unless `need_weights`.
        """
        q, k, v = (
            self._activate(layer(x)).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )  # each (B, heads, length, C / heads)
        weights = None
        if need_weights:
            scores = q @ k.transpose(2, 3) * q.shape[3] ** -0.5
            if causal:
                unseen = torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1)
                scores = scores.masked_fill(unseen, -torch.inf)
            weights = scores.softmax(dim=3)
            mixed = weights @ v
            weights = weights.mean(dim=1)
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self._activate(self.out(mixed.transpose(1, 2).flatten(2))), weights

    def _activate(self, x: Tensor) -> Tensor:
        return x.relu() if self.projected_relu else x
