"""Gives the maps of OpenAI's ResNet at several strides, the last one optionally through CLIP's attention pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures
from risctl.core.encoders.clip_weights import MEAN, STANDARD_DEVIATION, through_half
from risctl.core.encoders.visual.clip_resnet import CLIPResNet

STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class CLIPResNetNumbers:
    """The numbers of one of OpenAI's ResNets.

    Attributes:
        layers: Blocks of the four stages.
        channels: Width of the first stage.
        width: Channels of CLIP's embedding.
        resolution: Side of CLIP's input in pixels, which the positions of its pool are for.
    """

    layers: tuple[int, int, int, int]
    channels: int = 64
    width: int = 1024
    resolution: int = 224


NUMBERS = {
    "clip_resnet50": CLIPResNetNumbers(layers=(3, 4, 6, 3)),
    "clip_resnet101": CLIPResNetNumbers(layers=(3, 4, 23, 3), width=512),
    "clip_resnet50x4": CLIPResNetNumbers(layers=(4, 6, 10, 6), channels=80, width=640, resolution=288),
    "clip_resnet50x16": CLIPResNetNumbers(layers=(6, 8, 18, 8), channels=96, width=768, resolution=384),
    "clip_resnet50x64": CLIPResNetNumbers(layers=(3, 15, 36, 10), channels=128, width=1024, resolution=448),
}
"""OpenAI's ResNets (CLIP, 2021, table 19) by the name that `model.visual.name` holds."""


class CLIPResNetMaps(nn.Module):
    """A visual encoder of OpenAI's ResNet.

    With `pooled`, the last map is that of CRIS (CVPR 2022): the attention pool kept spatial, plus a projection of the
    last stage (`connect`, which CLIP's files do not hold), after a ReLU. Otherwise there is no pool.
    """

    def __init__(
        self,
        numbers: CLIPResNetNumbers,
        *,
        strides: tuple[int, ...] = STRIDES,
        pooled: bool = False,
        norms: Literal["trained", "frozen", "scales"] = "trained",
        frozen: bool = False,
    ) -> None:
        """Builds it with random weights.

        Args:
            numbers: The network's numbers.
            strides: The strides of the maps, finest first, out of 4, 8, 16 and 32.
            pooled: Whether the last map goes through the attention pool.
            norms: How batch norms train: `trained`; `frozen`; `scales`: only their statistics are frozen.
            frozen: Whether nothing of it trains.
        """
        super().__init__()
        self.resnet = CLIPResNet(
            numbers.layers,
            channels=numbers.channels,
            width=numbers.width,
            heads=numbers.channels // 2,
            resolution=numbers.resolution,
        )
        self.strides = tuple(strides)
        widths = [4 * numbers.channels * 2**stage for stage in range(4)]
        self.connect: nn.Sequential | None = None
        if pooled:
            self.connect = nn.Sequential(
                nn.Conv2d(widths[-1], numbers.width, 1, bias=False), nn.BatchNorm2d(numbers.width)
            )
            widths[-1] = numbers.width
        else:
            del self.resnet.attnpool
        self.channels = tuple(widths[STRIDES.index(stride)] for stride in self.strides)
        self.norms = norms
        self.frozen = frozen
        self.train()

    def train(self, mode: bool = True) -> CLIPResNetMaps:
        """Sets the training mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            freeze(self.children())
        elif self.norms != "trained":
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
                    if self.norms == "frozen":
                        freeze((module,))
        return self

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W), RGB in [0, 1], sides multiples of 32, with padding (B, H, W)."""
        clip = images.ndim == 5
        maps = self.resnet.stages(self.normalised(images.flatten(0, 1) if clip else images))
        if self.connect is not None:
            maps[-1] = (self.resnet.attnpool.spatial(maps[-1]) + self.connect(maps[-1])).relu()
        chosen = tuple(maps[STRIDES.index(stride)] for stride in self.strides)
        if clip:
            chosen = tuple(one.unflatten(0, images.shape[:2]) for one in chosen)
        return VisualFeatures(maps=chosen, strides=self.strides, padding=padding)

    def normalised(self, images: Tensor) -> Tensor:
        """Returns images (B, 3, H, W) by CLIP's mean and standard deviation of each channel."""
        mean, deviation = (
            torch.tensor(values, dtype=images.dtype, device=images.device)[:, None, None]
            for values in (MEAN, STANDARD_DEVIATION)
        )
        return (images - mean) / deviation

    def own_names(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns the backbone of a CLIP by OpenAI's names under its own; other states are returned as they are.

        `connect` keeps its random weights. Weights pass through float16, as in OpenAI's code.
        """
        if "visual.layer1.0.conv1.weight" not in state:
            return state
        own = {
            f"resnet.{name.removeprefix('visual.')}": value
            for name, value in through_half(state).items()
            if name.startswith("visual.") and (self.connect is not None or not name.startswith("visual.attnpool."))
        }
        if self.connect is not None:
            own |= {f"connect.{name}": value.clone() for name, value in self.connect.state_dict().items()}
        return own
