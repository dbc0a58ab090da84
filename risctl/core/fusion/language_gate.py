"""Fuses the words of an expression into the map of one stage of a backbone, and gates what flows on.

Source: LAVT (Yang et al., CVPR 2022), sections 3.1 (pixel-word attention) and 3.2 (language pathway); published code
yz93/LAVT-RIS, 1da0af9. ReLA (Liu et al., CVPR 2023) has the same layers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

_HIDDEN = 1e4
"""Subtracted from the attention scores of padding, as published."""


class LanguageGate(nn.Module):
    """Pixel-word attention and the language gate of one stage.

    What depends on the map alone (`begin`) stands apart from what depends on the words too (`fuse`, `gated`), so that a
    second expression need not repeat it. The output layer of the attention is applied to the words' values before they
    are mixed, 20 rows in place of one a pixel, which gives the same.

    The instance norms take their statistics from the sample, in evaluation too. They and the softmax over the words
    take away whatever the biases of query, key, value and output add; the biases are kept for published checkpoints
    and neither computed with nor trained. The published code's optimizer only lets them decay.
    """

    def __init__(self, channels: int, *, words: int = 768, heads: int = 1, zero_gate: bool = False) -> None:
        """Builds the layers.

        Args:
            channels: Channels of the map.
            words: Width of the words.
            heads: Attention heads; they divide `channels` evenly.
            zero_gate: Whether the gate starts at zero, so that the backbone starts as it was pretrained: ReLA's start.
                LAVT's starts from small random weights.
        """
        super().__init__()
        self.heads = heads
        self.visual = nn.Linear(channels, channels)
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(words, channels)
        self.value = nn.Linear(words, channels)
        self.out = nn.Linear(channels, channels)
        self.project = nn.Linear(channels, channels)
        self.gate = nn.Sequential(
            nn.Linear(channels, channels, bias=False), nn.ReLU(), nn.Linear(channels, channels, bias=False), nn.Tanh()
        )
        for layer in (self.query, self.key, self.value, self.out):
            layer.bias.requires_grad_(False)
        for parameter in self.gate.parameters():
            if zero_gate:
                nn.init.zeros_(parameter)
            else:
                nn.init.trunc_normal_(parameter, std=0.02)

    def begin(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the visual features and the queries of a map (B, H, W, C), each (B, H, W, C)."""
        query = functional.linear(x, self.query.weight)
        return functional.gelu(self.visual(x)), instance_norm(query.flatten(1, 2)).view_as(query)

    def fuse(self, begun: tuple[Tensor, Tensor], words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Fuses words into what `begin` gave.

        Args:
            begun: What `begin` gave.
            words: (B, L, D).
            mask: Bool (B, L), True where there is a token; the others are not attended to.

        Returns:
            The fused map (B, H, W, C), and the attention of each cell to the words, (B, heads, H W, L).
        """
        visual, query = begun
        key = functional.linear(words, self.key.weight) * query.shape[-1] ** -0.5  # of all channels, whatever the heads
        value = functional.linear(words, self.value.weight)
        query = query.flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, H W, C / heads)
        scores = query @ key.unflatten(2, (self.heads, -1)).permute(0, 2, 3, 1)
        attention = (scores - _HIDDEN * (~mask)[:, None, None]).softmax(dim=3)
        weight = self.out.weight.unflatten(1, (self.heads, -1))  # (C, heads, C / heads)
        answers = torch.einsum("blhd,chd->bhlc", value.unflatten(2, (self.heads, -1)), weight)
        seen = attention.transpose(1, 2).flatten(2) @ answers.flatten(1, 2).to(attention.dtype)  # (B, H W, C)
        fused = visual * instance_norm(seen).view_as(visual)
        return functional.gelu(self.project(fused)), attention

    def gated(self, x: Tensor, fused: Tensor) -> tuple[Tensor, Tensor]:
        """Returns what flows on, the map plus the gated fused one, (B, H, W, C), and the gate in (-1, 1)."""
        gate = self.gate(fused)
        return torch.addcmul(x, gate, fused), gate


def instance_norm(x: Tensor) -> Tensor:
    """Normalises each channel of each sample of (B, N, C) over its N cells, eps 1e-5."""
    variance, mean = torch.var_mean(x.float(), dim=1, keepdim=True, correction=0)
    return (x - mean) * torch.rsqrt(variance + 1e-5)
