"""VLT's query balance module (Ding et al., ICCV 2021): how much each query's response counts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from risctl.core.blocks import dense


class QueryBalance(nn.Module):
    """Weights the decoder's response to each query by a confidence predicted from the query and the response."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.query, self.answer = dense(channels, channels), dense(channels, channels)
        self.join = dense(2 * channels, channels)
        self.score = dense(channels, 1)

    def forward(self, queries: Tensor, responses: Tensor) -> tuple[Tensor, Tensor]:
        """Weights responses by confidence.

        Args:
            queries: (B, Q, C).
            responses: The decoder's outputs (B, Q, C).

        Returns:
            The weighted responses (B, Q, C) and the confidences (B, Q).
        """
        both = torch.cat([self.answer(responses).relu(), self.query(queries).relu()], dim=2)
        confidence = self.score(self.join(both).relu()).sigmoid()
        return responses * confidence, confidence[:, :, 0]


class NoBalance(nn.Module):
    """Leaves the responses as they are, each with confidence 1."""

    def forward(self, queries: Tensor, responses: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the responses (B, Q, C) and ones (B, Q). See `QueryBalance.forward`."""
        del queries
        return responses, torch.ones_like(responses[..., 0])
