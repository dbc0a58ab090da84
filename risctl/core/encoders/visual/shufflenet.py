"""Implements ShuffleNetV2 1.0x without batch norms, a light backbone of some 0.8 M parameters.

After Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design" (2018), with leaky ReLU 0.1
as in NanoDet-m. Norms are folded into the convolutions, as in published inference weights; training continues from
there. The convolutions are declared in the order in which they run (a unit's short branch first), so that weights named
by number can be loaded.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures
from risctl.core.encoders.visual.clip_frames import features_of

MEAN = (123.675 / 255, 116.28 / 255, 103.53 / 255)
STD = (58.395 / 255, 57.12 / 255, 57.375 / 255)
SLOPE = 0.1


def activate(x: Tensor) -> Tensor:
    """Returns the leaky ReLU that backbone, neck and head share."""
    return functional.leaky_relu(x, SLOPE)


def point(inputs: int, outputs: int) -> nn.Conv2d:
    """Returns a 1x1 convolution."""
    return nn.Conv2d(inputs, outputs, 1)


def spread(channels: int, *, stride: int = 1, kernel: int = 3) -> nn.Conv2d:
    """Returns a depthwise convolution."""
    return nn.Conv2d(channels, channels, kernel, stride=stride, padding=kernel // 2, groups=channels)


class _Unit(nn.Module):
    """Convolves half of the channels, then shuffles all; at stride 2 all are convolved, in two branches."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.stride = stride
        self.short = nn.ModuleList([spread(inputs, stride=2), point(inputs, half)] if stride == 2 else [])
        self.long = nn.ModuleList(
            [point(inputs if stride == 2 else half, half), spread(half, stride=stride), point(half, half)]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, C', H/stride, W/stride)."""
        if self.stride == 2:
            passed = activate(self.short[1](self.short[0](x)))
        else:
            passed, x = x.chunk(2, 1)
        changed = activate(self.long[2](self.long[1](activate(self.long[0](x)))))
        batch, half, height, width = passed.shape
        return torch.stack([passed, changed], 2).view(batch, 2 * half, height, width)


class ShuffleNet(nn.Module):
    """Encodes images or clips as maps of 24, 116, 232 and 464 channels at strides 4, 8, 16 and 32."""

    channels = (24, 116, 232, 464)
    strides = (4, 8, 16, 32)
    mean: Tensor
    std: Tensor

    def __init__(self, *, frozen: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, self.channels[0], 3, stride=2, padding=1)
        self.stages = nn.ModuleList()
        for inputs, outputs, units in zip(self.channels, self.channels[1:], (4, 8, 4), strict=False):
            first = _Unit(inputs, outputs, stride=2)
            self.stages.append(nn.Sequential(first, *(_Unit(outputs, outputs, stride=1) for _ in range(units - 1))))
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> ShuffleNet:
        """Sets the training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            freeze(self.children())
        return self

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) or clips (B, T, 3, H, W), RGB in [0, 1], with padding (B, H, W)."""
        x = images.flatten(0, 1) if images.ndim == 5 else images
        x = activate(self.stem((x - self.mean) / self.std))
        # Channels last, where the CPU takes the maxima of many channels at once: a quarter of the time, the same bits.
        pooled = functional.max_pool2d(x.contiguous(memory_format=torch.channels_last), 3, stride=2, padding=1)
        maps = [pooled.contiguous()]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return features_of(maps, images, padding, strides=self.strides)
