"""ResNets of torchvision as visual encoders (He et al. 2016)."""

from __future__ import annotations

from typing import Any
from urllib.error import URLError

import torch
from torch import Tensor, nn
from torchvision import models

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures
from risctl.errors import MachineError

_BUILDERS = {"resnet18": models.resnet18, "resnet50": models.resnet50, "resnet101": models.resnet101}
_IMAGENET = {
    "resnet18": models.ResNet18_Weights.IMAGENET1K_V1,
    "resnet50": models.ResNet50_Weights.IMAGENET1K_V1,
    "resnet101": models.ResNet101_Weights.IMAGENET1K_V1,
}
_DEEPLABV3 = {
    "resnet50": models.segmentation.DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1,
    "resnet101": models.segmentation.DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1,
}
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
        """Set the training mode; a frozen trunk stays in evaluation mode."""
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


def imagenet_state(name: str) -> dict[str, Tensor]:
    """Return torchvision's ImageNet weights of ResNet `name` without its classifier, from the hub's cache or the net.

    Raises `MachineError` if they are not in the cache and cannot be downloaded.
    """
    return {key: value for key, value in _fetched(_IMAGENET[name]).items() if not key.startswith("fc.")}


def deeplabv3_state(name: str) -> dict[str, Tensor]:
    """Return the trunk of torchvision's DeepLabV3 with ResNet `name`, trained on COCO with the labels of Pascal VOC.

    Raises `MachineError` as `imagenet_state` does.
    """
    state = _fetched(_DEEPLABV3[name])
    return {key.removeprefix("backbone."): value for key, value in state.items() if key.startswith("backbone.")}


def _fetched(weights: Any) -> dict[str, Tensor]:
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except (URLError, OSError, RuntimeError) as error:
        raise MachineError(
            f"expected {weights.url} in torch's cache ({torch.hub.get_dir()}/checkpoints) or on the net, got: {error}; "
            f"put the file there, or set model.visual.weights to a file or to null"
        ) from error
