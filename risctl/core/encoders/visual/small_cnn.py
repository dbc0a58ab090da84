"""Implements a light residual backbone that trains from scratch on a CPU in minutes. It reproduces no publication."""

from __future__ import annotations

from torch import Tensor, nn

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures


class Unit(nn.Module):
    """ResNet's basic block: two 3x3 convolutions with batch norm, and the sum with the (projected) input."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.short = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))
        )
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, C', H/stride, W/stride)."""
        inner = self.first_norm(self.first(x)).relu()
        return (self.second_norm(self.second(inner)) + self.short(x)).relu()


class SmallCNN(nn.Module):
    """Encodes images as maps of 64, 128 and 160 channels at strides 8, 16 and 32."""

    channels = (64, 128, 160)
    strides = (8, 16, 32)

    def __init__(self, *, frozen: bool = False) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 24, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.quarter = Unit(24, 32, stride=2)
        self.eighth = nn.Sequential(Unit(32, 64, stride=2), Unit(64, 64, stride=1))
        self.sixteenth = nn.Sequential(Unit(64, 128, stride=2), Unit(128, 128, stride=1))
        self.thirtysecond = Unit(128, 160, stride=2)
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> SmallCNN:
        """Sets the training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            freeze(self.children())
        return self

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W), RGB in [0, 1], sides multiples of 32, with padding (B, H, W)."""
        eighth = self.eighth(self.quarter(self.stem(2 * images - 1)))
        sixteenth = self.sixteenth(eighth)
        return VisualFeatures(
            maps=(eighth, sixteenth, self.thirtysecond(sixteenth)), strides=self.strides, padding=padding
        )
