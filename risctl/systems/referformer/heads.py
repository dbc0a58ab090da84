"""Builds the prediction heads and level projections of ReferFormer, initialised as published."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from risctl.core.heads.dynamic_mask import MLP


def class_heads(hidden: int, *, classes: int, layers: int, frozen: bool = False) -> nn.ModuleList:
    """Returns the class heads of all decoder layers; their initial probability is 0.01.

    Args:
        hidden: Width of the queries.
        classes: Number of outputs.
        layers: Number of heads.
        frozen: Whether all but the last do not train, as no loss reads them.
    """
    heads = [nn.Linear(hidden, classes) for _ in range(layers)]
    for head in heads:
        nn.init.constant_(head.bias, -math.log(99.0))
    return _last_trains(heads) if frozen else nn.ModuleList(heads)


def box_heads(hidden: int, *, layers: int, frozen: bool = False) -> nn.ModuleList:
    """Returns the box heads of all decoder layers; initially they refine nothing, from boxes of a tenth.

    Args:
        hidden: Width of the queries.
        layers: Number of heads.
        frozen: Whether all but the last do not train: references are detached, so that no loss reaches the others.
    """
    heads = [MLP(hidden, hidden, hidden, 4) for _ in range(layers)]
    for number, head in enumerate(heads):
        nn.init.zeros_(head.last.weight)
        nn.init.zeros_(head.last.bias)
        if number == 0:
            nn.init.constant_(head.last.bias[2:], -2.0)
    return _last_trains(heads) if frozen else nn.ModuleList(heads)


def level_projections(channels: Sequence[int], hidden: int) -> nn.ModuleList:
    """Returns projections of maps at strides 8 to 32 to `hidden` channels, and of the last one to stride 64."""
    convolutions = [nn.Conv2d(inputs, hidden, 1) for inputs in channels]
    convolutions.append(nn.Conv2d(channels[-1], hidden, 3, stride=2, padding=1))
    for convolution in convolutions:
        nn.init.xavier_uniform_(convolution.weight)
        if convolution.bias is not None:
            nn.init.zeros_(convolution.bias)
    return nn.ModuleList(nn.Sequential(convolution, _GroupNorm(32, hidden)) for convolution in convolutions)


class _GroupNorm(nn.GroupNorm):
    """A group norm that accepts a single cell; torch's own refuses it although groups have several channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, C, h, w) to the same shape."""
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


def _last_trains(heads: Sequence[nn.Module]) -> nn.ModuleList:
    for head in heads[:-1]:
        head.requires_grad_(False)
    return nn.ModuleList(heads)
