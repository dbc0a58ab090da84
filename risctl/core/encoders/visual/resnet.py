"""ResNets of torchvision as visual encoders (He et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision import models

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures

_BUILDERS = {"resnet18": models.resnet18, "resnet50": models.resnet50, "resnet101": models.resnet101}
NAMES = tuple(_BUILDERS)


class ResNet(nn.Module):
    """Images to the maps of the last three stages, at strides 8, 16 and 32.

    Images are RGB in [0, 1]; ImageNet's mean and standard deviation are applied here.
    """

    strides = (8, 16, 32)
    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, *, frozen: bool = False, zero_residual: bool = False) -> None:
        """Build `name`, one of `NAMES`, with random weights; frozen: none of it trains; zero_residual: the last norm

        of each block begins with a scale of zero, so that at first a block passes on what it gets.
        """
        super().__init__()
        whole = _BUILDERS[name](weights=None, zero_init_residual=zero_residual)
        self.conv1, self.bn1 = whole.conv1, whole.bn1
        self.maxpool = whole.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        width = 512 if name == "resnet18" else 2048
        self.channels = (width // 4, width // 2, width)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> ResNet:
        """Set the training mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            freeze(self.children())
        return self

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encode images (B, 3, H, W), sides multiples of 32, with padding (B, H, W)."""
        x = self.bn1(self.conv1((images - self.mean) / self.deviation)).relu()
        eighth = self.layer2(self.layer1(self.maxpool(x)))
        sixteenth = self.layer3(eighth)
        return VisualFeatures(maps=(eighth, sixteenth, self.layer4(sixteenth)), strides=self.strides, padding=padding)
