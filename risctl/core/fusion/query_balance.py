"""VLT's query balance: how much each query's answer counts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from risctl.core.blocks import dense


class QueryBalance(nn.Module):
    """Confidence of each query from the query and what the decoder made of it, and the weighted answers."""

    def __init__(self, channels: int = 256) -> None:
        super().__init__()
        self.query, self.answer = dense(channels, channels), dense(channels, channels)
        self.join = dense(2 * channels, channels)
        self.score = dense(channels, 1)

    def forward(self, queries: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the answers (B, Q, C) times their confidences, and the confidences (B, Q)."""
        both = torch.cat([self.answer(answers).relu(), self.query(queries).relu()], dim=2)
        confidence = self.score(self.join(both).relu()).sigmoid()
        return answers * confidence, confidence[:, :, 0]
