"""A path aggregation neck of ghost blocks, as NanoDet-Plus has it.

Liu et al., "Path Aggregation Network for Instance Segmentation" (PANet, 2018), merged by the bottlenecks of Han et al.,
"GhostNet: More Features from Cheap Operations" (2020), in NanoDet-Plus's form (RangiLyu, 2021): one block a merge, 5x5
depthwise convolutions, and one coarser level than the backbone has. Norms are folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.visual.shufflenet import activate, point, spread

KERNEL = 5


class _Ghost(nn.Module):
    """Half of the outputs by a 1x1 convolution, the other half from these by a depthwise one."""

    def __init__(self, inputs: int, outputs: int, *, active: bool) -> None:
        super().__init__()
        self.primary = point(inputs, outputs // 2)
        self.cheap = spread(outputs // 2)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        x = self.primary(x)
        x = activate(x) if self.active else x
        cheap = self.cheap(x)
        return torch.cat([x, activate(cheap) if self.active else cheap], 1)

    def convolutions(self) -> Iterator[nn.Conv2d]:
        yield from (self.primary, self.cheap)


class _GhostBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = _Ghost(inputs, outputs, active=True)
        self.second = _Ghost(outputs, outputs, active=False)
        self.short = nn.ModuleList([spread(inputs, kernel=KERNEL), point(inputs, outputs)])

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)) + self.short[1](self.short[0](x))

    def convolutions(self) -> Iterator[nn.Conv2d]:
        yield from self.first.convolutions()
        yield from self.second.convolutions()
        yield from self.short  # type: ignore[misc]


class _Halve(nn.Module):
    """A depthwise separable convolution that halves the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([spread(channels, stride=2, kernel=KERNEL), point(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        return activate(self.layers[1](activate(self.layers[0](x))))

    def convolutions(self) -> Iterator[nn.Conv2d]:
        yield from self.layers  # type: ignore[misc]


class GhostPathAggregation(nn.Module):
    """Brings maps of several strides to one width, exchanges information between them, and adds a coarser one."""

    def __init__(self, inputs: Sequence[int], *, channels: int) -> None:
        """Builds the neck.

        Args:
            inputs: Channels of the maps, finest first.
            channels: Channels of the output.
        """
        super().__init__()
        self.channels = channels
        self.levels = len(inputs) + 1
        merges = len(inputs) - 1
        self.narrow = nn.ModuleList(point(outputs, channels) for outputs in inputs)
        # Coarse to fine, then fine to coarse, each in the order in which they run.
        self.down = nn.ModuleList(_GhostBlock(2 * channels, channels) for _ in range(merges))
        self.halve = nn.ModuleList(_Halve(channels) for _ in range(merges))
        self.up = nn.ModuleList(_GhostBlock(2 * channels, channels) for _ in range(merges))
        self.coarser = nn.ModuleList([_Halve(channels), _Halve(channels)])

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps N maps (B, C_i, H_i, W_i), finest first, to N + 1 (B, channels, H_i, W_i): one coarser."""
        narrowed = [activate(layer(one)) for layer, one in zip(self.narrow, maps, strict=True)]
        inner = [narrowed[-1]]
        for block, fine in zip(self.down, reversed(narrowed[:-1]), strict=True):
            coarse = functional.interpolate(inner[0], size=fine.shape[-2:], mode="bilinear", align_corners=False)
            inner.insert(0, block(torch.cat([coarse, fine], 1)))
        outputs = [inner[0]]
        for halve, block, coarse in zip(self.halve, self.up, inner[1:], strict=True):
            outputs.append(block(torch.cat([halve(outputs[-1]), coarse], 1)))
        outputs.append(self.coarser[0](narrowed[-1]) + self.coarser[1](outputs[-1]))
        return outputs

    def convolutions(self) -> Iterator[nn.Conv2d]:
        """Yields the convolutions in the order in which they run."""
        yield self.narrow[-1]  # type: ignore[misc]
        for level, block in enumerate(self.down, start=2):
            yield self.narrow[-level]  # type: ignore[misc]
            yield from block.convolutions()  # type: ignore[operator]
        for halve, block in zip(self.halve, self.up, strict=True):
            yield from halve.convolutions()  # type: ignore[operator]
            yield from block.convolutions()  # type: ignore[operator]
        for layer in self.coarser:
            yield from layer.convolutions()  # type: ignore[operator]
