"""Runs torchvision's ResNets as visual encoders (He et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision import models

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures

_BUILDERS = {"resnet18": models.resnet18, "resnet50": models.resnet50, "resnet101": models.resnet101}
NAMES = tuple(_BUILDERS)


class ResNet(nn.Module):
    """Encodes images as the maps of the last three stages, at strides 8, 16 and 32."""

    strides = (8, 16, 32)
    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, *, frozen: bool = False, zero_residual: bool = False) -> None:
        """Builds it with random weights.

        Args:
            name: One of `NAMES`.
            frozen: Whether no parameter trains.
            zero_residual: Whether the last norm of each block starts with a scale of zero, so that the block starts as
                the identity.
        """
        super().__init__()
        network = _BUILDERS[name](weights=None, zero_init_residual=zero_residual)
        self.conv1, self.bn1 = network.conv1, network.bn1
        self.maxpool = network.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            network.layer1,
            network.layer2,
            network.layer3,
            network.layer4,
        )
        width = 512 if name == "resnet18" else 2048
        self.channels = (width // 4, width // 2, width)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> ResNet:
        """Sets the training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            freeze(self.children())
        return self

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W), RGB in [0, 1], sides multiples of 32, with padding (B, H, W)."""
        x = self.bn1(self.conv1((images - self.mean) / self.deviation)).relu()
        eighth = self.layer2(self.layer1(self.maxpool(x)))
        sixteenth = self.layer3(eighth)
        return VisualFeatures(maps=(eighth, sixteenth, self.layer4(sixteenth)), strides=self.strides, padding=padding)
