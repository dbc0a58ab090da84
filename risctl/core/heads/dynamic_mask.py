"""Masks by dynamic convolutions with weights from queries (CondInst, Tian et al., 2020; ReferFormer, CVPR 2022)."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Module):
    """Linear layers of the given widths with ReLU in between."""

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
        """Maps (..., widths[0]) to (..., widths[-1])."""
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


class DynamicMaskHead(nn.Module):
    """Predicts a query's mask from mask features, the query's vector and its box centre.

    1x1 convolutions, `inner` channels wide, over the features and each cell's offset to the query's centre in pixels
    (not normalised, as published).
    """

    def __init__(
        self,
        channels: int,
        *,
        features: int = 256,
        inner: int = 8,
        layers: int = 3,
        relative: bool = True,
        stride: int = 4,
    ) -> None:
        """Builds the head.

        Args:
            channels: Width C of the queries.
            features: Channels F of the mask features.
            inner: Channels of the dynamic convolutions.
            layers: Number of dynamic convolutions, at least 2.
            relative: Whether the first one reads the offsets to the query's centre.
            stride: Stride of the mask features in input pixels.
        """
        super().__init__()
        self.inner, self.features, self.stride = inner, features, stride
        self.layers, self.relative = layers, relative
        self._inputs = features + 2 if relative else features
        # All weights first, then all biases, as published.
        weights = (self._inputs * inner, *[inner * inner] * (layers - 2), inner)
        self.sizes = (*weights, *[inner] * (layers - 1), 1)
        self.controller = MLP(channels, channels, channels, sum(self.sizes))
        for name, parameter in self.controller.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.xavier_uniform_(parameter)

    def forward(self, maps: Tensor, queries: Tensor, centres: Tensor) -> Tensor:
        """Returns mask logits (N, Q, h, w) of N frames.

        Args:
            maps: (N, F, h, w).
            queries: (N, Q, C).
            centres: (N, Q, 2), x and y in pixels of the input.
        """
        return self.apply_kernels(maps, self.controller(queries), centres)

    def forward_with_projection(self, out: nn.Conv2d, maps: Tensor, queries: Tensor, centres: Tensor) -> Tensor:
        """Computes `forward(out(maps), queries, centres)` without computing `out(maps)`.

        `out` and the first dynamic convolution are both linear. Only their product, with the few channels of the
        queries, is needed, and one convolution with that many channels computes it.

        Args:
            out: The convolution that projects to mask features.
            maps: Its input (N, C, h, w).
            queries: (N, Q, C).
            centres: (N, Q, 2), x and y in pixels of the input.
        """
        kernels = self.controller(queries)
        # A graph for other engines knows no number of frames, over which the loop below goes.
        if torch.compiler.is_compiling() or queries.shape[1] * self.inner >= self.features:
            return self.apply_kernels(out(maps), kernels, centres)
        first = self._first(kernels)[..., : self.features].flatten(1, 2)  # (N, Q * inner, F)
        weights = (first @ out.weight.flatten(1)).unflatten(2, out.weight.shape[1:])
        biases = None if out.bias is None else first @ out.bias
        projected = [
            functional.conv2d(
                one[None], weights[row], None if biases is None else biases[row], padding=out.padding, stride=out.stride
            )
            for row, one in enumerate(maps)
        ]
        return self._finish(torch.cat(projected), kernels, centres)

    def apply_kernels(self, maps: Tensor, kernels: Tensor, centres: Tensor) -> Tensor:
        """Computes `forward` from the controller's output.

        Args:
            maps: (N, F, h, w).
            kernels: (N, Q, sum(sizes)).
            centres: (N, Q, 2), x and y in pixels of the input.
        """
        first = self._first(kernels)
        # The first convolution is one product for all queries; offsets are added without a map of their own.
        projected = torch.bmm(first[..., : self.features].flatten(1, 2), maps.flatten(2))
        return self._finish(projected.unflatten(2, tuple(maps.shape[2:])), kernels, centres)

    def _first(self, kernels: Tensor) -> Tensor:
        """Returns the weights (N, Q, inner, F + 2) of the first convolution; F without relative coordinates."""
        return kernels[..., : self.sizes[0]].unflatten(2, (self.inner, self._inputs))

    def _finish(self, projected: Tensor, kernels: Tensor, centres: Tensor) -> Tensor:
        """Returns mask logits (N, Q, h, w) given the first convolution of the features, (N, Q * inner, h, w)."""
        frames, queries = kernels.shape[:2]
        height, width = projected.shape[2:]
        inner = self.inner
        parts = kernels.split(self.sizes, dim=2)
        weights, biases = parts[1 : self.layers], parts[self.layers :]
        hidden = projected.view(frames, queries, inner, height, width)
        if self.relative:
            across, down = self._offsets(kernels, centres, height=height, width=width)
            hidden = hidden + across[..., None, :] + down[..., None]
        hidden = (hidden + biases[0][..., None, None]).relu().flatten(0, 1).flatten(2)  # (N * Q, inner, h * w)
        for number, (weight, bias) in enumerate(zip(weights, biases[1:], strict=True), start=2):
            outputs = 1 if number == self.layers else inner
            hidden = torch.baddbmm(
                bias.reshape(-1, outputs, 1), weight.reshape(-1, outputs, weight.shape[2] // outputs), hidden
            )
            if number < self.layers:
                hidden = hidden.relu()
        return hidden.view(frames, queries, height, width)

    def _offsets(self, kernels: Tensor, centres: Tensor, *, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Returns what the first convolution makes of offsets to the centres: (N, Q, inner, w), (N, Q, inner, h)."""
        first = self._first(kernels)
        y, x = (
            torch.arange(length, dtype=kernels.dtype, device=kernels.device) * self.stride + self.stride // 2
            for length in (height, width)
        )
        across = first[..., -2, None] * (centres[..., 0, None, None] - x)  # (N, Q, inner, w)
        down = first[..., -1, None] * (centres[..., 1, None, None] - y)
        return across, down
