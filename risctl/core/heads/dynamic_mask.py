"""Masks by convolutions whose weights each query brings (CondInst, Tian et al. 2020; ReferFormer)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Module):
    """Linear layers of `widths`, ReLU between."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        layers = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths)]
        self.layers = nn.ModuleList(layers)

    @property
    def last(self) -> nn.Linear:
        """The last layer."""
        layer = self.layers[-1]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., widths[0]) to (..., widths[-1])."""
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


class DynamicMaskHead(nn.Module):
    """Mask features and a query's vector and box centre to the query's mask.

    Three 1x1 convolutions, `inner` channels wide, over the features and, of each cell, its distance in pixels to the
    query's centre (not normalised, as published).
    """

    def __init__(self, channels: int, *, features: int = 256, inner: int = 8, stride: int = 4) -> None:
        super().__init__()
        self.inner, self.features, self.stride = inner, features, stride
        self.sizes = ((features + 2) * inner, inner * inner, inner, inner, inner, 1)
        self.controller = MLP(channels, channels, channels, sum(self.sizes))
        for name, parameter in self.controller.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.xavier_uniform_(parameter)

    def forward(self, maps: Tensor, queries: Tensor, centres: Tensor) -> Tensor:
        """Return mask logits (N, Q, h, w) of N frames.

        maps: (N, F, h, w); queries: (N, Q, C); centres: (N, Q, 2), x and y in pixels of the input.
        """
        return self.apply_kernels(maps, self.controller(queries), centres)

    def forward_with_projection(self, out: nn.Conv2d, maps: Tensor, queries: Tensor, centres: Tensor) -> Tensor:
        """Return what `forward` makes of `out(maps)`, without making that.

        `out` is linear, and so is the first of the three convolutions: of the features, only their product with the few
        channels of the queries is wanted, and one convolution of so many channels gives it. maps: (N, C, h, w).
        """
        kernels = self.controller(queries)
        if queries.shape[1] * self.inner >= self.features:
            return self.apply_kernels(out(maps), kernels, centres)
        first = self._first(kernels)[..., : self.features].flatten(1, 2)  # (N, Q * inner, F)
        weights = (first @ out.weight.flatten(1)).unflatten(2, out.weight.shape[1:])
        biases = None if out.bias is None else first @ out.bias
        seen = [
            functional.conv2d(
                one[None], weights[row], None if biases is None else biases[row], padding=out.padding, stride=out.stride
            )
            for row, one in enumerate(maps)
        ]
        return self._finish(torch.cat(seen), kernels, centres)

    def apply_kernels(self, maps: Tensor, kernels: Tensor, centres: Tensor) -> Tensor:
        """Return mask logits (N, Q, h, w): `forward` with the controller's output (N, Q, sum(sizes)) given."""
        first = self._first(kernels)
        # The first convolution is one product for all queries; the offsets need no map of their own.
        seen = torch.bmm(first[..., : self.features].flatten(1, 2), maps.flatten(2))
        return self._finish(seen.unflatten(2, tuple(maps.shape[2:])), kernels, centres)

    def _first(self, kernels: Tensor) -> Tensor:
        """Return the weights (N, Q, inner, F + 2) of the first convolution."""
        return kernels[..., : self.sizes[0]].unflatten(2, (self.inner, self.features + 2))

    def _finish(self, seen: Tensor, kernels: Tensor, centres: Tensor) -> Tensor:
        """Return mask logits (N, Q, h, w) of what the first convolution makes of the features, (N, Q * inner, h, w)."""
        frames, queries = kernels.shape[:2]
        height, width = seen.shape[2:]
        inner = self.inner
        seen = seen.view(frames, queries, inner, height, width)
        first = self._first(kernels)
        _, second, third, first_bias, second_bias, third_bias = kernels.split(self.sizes, dim=2)
        y, x = (
            torch.arange(length, dtype=seen.dtype, device=seen.device) * self.stride + self.stride // 2
            for length in (height, width)
        )
        across = first[..., -2, None] * (centres[..., 0, None, None] - x)  # (N, Q, inner, w)
        down = first[..., -1, None] * (centres[..., 1, None, None] - y)
        hidden = (seen + across[..., None, :] + down[..., None] + first_bias[..., None, None]).relu()
        hidden = hidden.flatten(0, 1).flatten(2)  # (N * Q, inner, h * w)
        weights = second.reshape(-1, inner, inner)
        hidden = torch.baddbmm(second_bias.reshape(-1, inner, 1), weights, hidden).relu()
        logits = torch.baddbmm(third_bias.reshape(-1, 1, 1), third.reshape(-1, 1, inner), hidden)
        return logits.view(frames, queries, height, width)
