"""Runs torchvision's MobileNetV2, a light backbone with ImageNet weights (Sandler et al., CVPR 2018)."""

from __future__ import annotations

import re

import torch
from torch import Tensor, nn
from torchvision import models

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures
from risctl.core.encoders.visual.clip_frames import features_of, normalised

_ENDS = (3, 6, 13, 18)
"""The layers whose outputs are the maps: the last of each stride."""
_FLAT = re.compile(r"^features\.(\d+)\.conv\.(\d+)(?=\.[a-z])")


class MobileNetV2(nn.Module):
    """Encodes images or clips as maps of 24, 32, 96 and 1280 channels at strides 4, 8, 16 and 32.

    With pretrained weights, batch norms keep their statistics and the layers up to the first map do not train. Random
    weights need norms that train: without, activations vanish from layer to layer. Sides need not be multiples of 32.
    """

    channels = (24, 32, 96, 1280)
    strides = (4, 8, 16, 32)
    mean: Tensor
    deviation: Tensor

    def __init__(self, *, trained: bool = True, frozen: bool = False) -> None:
        """Builds it with random weights; `trained`: pretrained ones will be loaded; `frozen`: no parameter trains."""
        super().__init__()
        # Depthwise convolutions run up to twice as fast with channels last, on a CPU too.
        self.features = models.mobilenet_v2(weights=None).features.to(memory_format=torch.channels_last)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1), persistent=False)
        self.trained = trained
        self.frozen = frozen
        self.train()

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns `state` under torchvision's names, where it has the flat names of the first PyTorch files.

        There, a block's convolutions and norms form one sequence: "conv.3", "conv.4" are torchvision's "conv.1.0" and
        "conv.1.1", the last pair "conv.2" and "conv.3".
        """
        if "features.1.conv.4.weight" not in state:
            return state
        return {_FLAT.sub(_nested, key): value for key, value in state.items()}

    def train(self, mode: bool = True) -> MobileNetV2:
        """Sets the training mode of everything that is not frozen."""
        super().train(mode)
        if self.frozen:
            freeze(self.features)
        elif self.trained:
            freeze(self.features[: _ENDS[0] + 1])
            for norm in self.modules():
                if isinstance(norm, nn.modules.batchnorm._BatchNorm):
                    norm.eval()
        return self

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) or clips (B, T, 3, H, W), RGB in [0, 1], with padding (B, H, W)."""
        x = normalised(images, padding, mean=self.mean, deviation=self.deviation)
        x = (x.flatten(0, 1) if images.ndim == 5 else x).contiguous(memory_format=torch.channels_last)
        maps = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in _ENDS:
                maps.append(x.contiguous())
        return features_of(maps, images, padding, strides=self.strides)


def _nested(found: re.Match[str]) -> str:
    block, index = int(found[1]), int(found[2])
    convolution, part = divmod(index, 3)
    last = 1 if block == 1 else 2  # the first block does not widen
    return f"features.{block}.conv." + (f"{last + part}" if convolution == last else f"{convolution}.{part}")
