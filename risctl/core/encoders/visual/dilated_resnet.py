"""Implements ResNets whose last two stages are dilated instead of strided, as in DeepLab v2 (Chen et al. 2018).

`deeplab_resnet101` is the form that Caffe and TensorFlow published: the stride on a block's first 1x1 convolution,
norms of eps 1e-3, TensorFlow's SAME padding, pixels from 0 to 255 minus a mean. The `resnet*` are torchvision's: the
stride on the 3x3 convolution, symmetric padding. Parameters are named as torchvision names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A variant.

    Attributes:
        block: The kind of residual block.
        depths: Blocks of the four stages.
        widths: Channels of the stem and the four stages, before a bottleneck's expansion.
        mean: Mean of RGB in [0, 1].
        deviation: Standard deviation of RGB in [0, 1].
        published: Whether it has the form that Caffe and TensorFlow published.
    """

    block: Literal["basic", "bottleneck"]
    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int, int] = (64, 64, 128, 256, 512)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    deviation: tuple[float, float, float] = (0.229, 0.224, 0.225)
    published: bool = False


FORMS = {
    "deeplab_resnet101": Form(
        block="bottleneck",
        depths=(3, 4, 23, 3),
        mean=(122.67891434 / 255, 116.66876762 / 255, 104.00698793 / 255),
        deviation=(1 / 255, 1 / 255, 1 / 255),
        published=True,
    ),
    "resnet101": Form(block="bottleneck", depths=(3, 4, 23, 3)),
    "resnet50": Form(block="bottleneck", depths=(3, 4, 6, 3)),
    "resnet18": Form(block="basic", depths=(2, 2, 2, 2)),
    "small_cnn": Form(
        block="basic",
        depths=(1, 2, 2, 1),
        widths=(24, 32, 64, 96, 128),
        mean=(0.5, 0.5, 0.5),
        deviation=(0.5, 0.5, 0.5),
    ),
}
DILATIONS = (1, 1, 2, 4)
"""Dilations of the 3x3 convolutions in res2 to res5."""


class Block(nn.Module):
    """A residual block, `basic` (two 3x3) or `bottleneck` (1x1, 3x3, 1x1).

    The input of every 3x3 convolution is zero outside the image, so that an image padded to the size of its batch has
    exactly the features that it has alone.
    """

    def __init__(self, inputs: int, width: int, *, form: Form, stride: int, dilation: int) -> None:
        super().__init__()
        eps = 1e-3 if form.published else 1e-5
        outputs = 4 * width if form.block == "bottleneck" else width

        def norm(channels: int) -> nn.BatchNorm2d:
            return nn.BatchNorm2d(channels, eps=eps)

        def spread(channels: int, stride: int) -> nn.Conv2d:
            return nn.Conv2d(channels, width, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)

        self.strides_first = form.block == "basic" or form.published
        if form.block == "bottleneck":
            first, second = (stride, 1) if form.published else (1, stride)
            self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, stride=first, bias=False), norm(width)
            self.conv2, self.bn2 = spread(width, second), norm(width)
            self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), norm(outputs)
        else:
            self.conv1, self.bn1 = spread(inputs, stride), norm(width)
            self.conv2, self.bn2 = spread(width, 1), norm(width)
        self.bottleneck = form.block == "bottleneck"
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), norm(outputs))
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, x: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, C', H', W'); before, after: 1 inside the image, at the sizes of input and output."""
        short = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x if self.bottleneck else x * before)).relu()
        x = self.bn2(self.conv2(x * (after if self.strides_first else before)))
        if self.bottleneck:
            x = self.bn3(self.conv3(x.relu()))
        return (x + short).relu()


class DilatedResNet(nn.Module):
    """Encodes images as the maps F1 (after the pooling), F2 (res2), F3, F4 and F5 (res5), the first `depth` of them.

    F1 and F2 have stride 4, the others stride 8. Of ResNet-101 they have 64, 256, 512, 1024 and 2048 channels.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, name: str, *, depth: int = 5, frozen_stages: int = 0, frozen_norms: bool = False) -> None:
        """Builds it with random weights.

        Args:
            name: One of `FORMS`.
            depth: How many maps there are.
            frozen_stages: How many stages, from the first on, do not train.
            frozen_norms: Whether norms keep their statistics in training; scale and shift still train.
        """
        super().__init__()
        form = FORMS[name]
        self.form = form
        stem, *widths = form.widths
        self.conv1 = nn.Conv2d(3, stem, 7, stride=2, padding=0 if form.published else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem, eps=1e-3 if form.published else 1e-5)
        channels = [stem]
        for number, (blocks, width) in enumerate(zip(form.depths[: depth - 1], widths, strict=False), start=1):
            stride = 2 if number == 2 else 1
            outputs = 4 * width if form.block == "bottleneck" else width
            stage = nn.ModuleList(
                Block(
                    channels[-1] if index == 0 else outputs,
                    width,
                    form=form,
                    stride=stride if index == 0 else 1,
                    # torchvision's first block of a stage keeps the dilation of the stage before it.
                    dilation=DILATIONS[number - (1 if index or form.published else 2)] if number > 1 else 1,
                )
                for index in range(blocks)
            )
            self.add_module(f"layer{number}", stage)
            channels.append(outputs)
        self.channels = tuple(channels)
        self.strides = (4, 4, 8, 8, 8)[:depth]
        self.frozen_stages = frozen_stages
        self.frozen_norms = frozen_norms
        self.register_buffer("mean", torch.tensor(form.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(form.deviation).view(3, 1, 1), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.train()

    def train(self, mode: bool = True) -> DilatedResNet:
        """Sets the training mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        if self.frozen_norms:
            for module in self.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        freeze(self.frozen_part())
        return self

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W), RGB in [0, 1], sides multiples of 8, with padding (B, H, W).

        Every map is zero outside the image.
        """
        return self.finish(self.begin(images, padding, depth=1), padding)

    def frozen_part(self) -> list[nn.Module]:
        """Returns the modules of the frozen stages; none if the first one trains."""
        return [part for parts in self._by_stage()[: self.frozen_stages] for part in parts]

    def begin(self, images: Tensor, padding: Tensor, *, depth: int | None = None) -> tuple[Tensor, ...]:
        """Returns the maps of the frozen stages, or of the first `depth`."""
        inside = _inside(padding)
        x = (images - self.mean) / self.deviation * inside[1]
        # SAME padding of an even side: 5 pixels around the 7x7 window, 1 around the 3x3 one, the odd one behind.
        x = self.bn1(self.conv1(functional.pad(x, (2, 3, 2, 3)) if self.form.published else x)).relu() * inside[2]
        if self.form.published:
            x = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1)), 3, stride=2)
        else:
            x = functional.max_pool2d(x, 3, stride=2, padding=1)
        return self._deeper([x * inside[4]], inside, depth=self.frozen_stages if depth is None else depth)

    def finish(self, parts: tuple[Tensor, ...], padding: Tensor) -> VisualFeatures:
        """Returns the features of the output of `begin`."""
        maps = self._deeper(list(parts), _inside(padding), depth=len(self.channels))
        return VisualFeatures(maps=maps, strides=self.strides, padding=padding)

    def _deeper(self, maps: list[Tensor], inside: dict[int, Tensor], *, depth: int) -> tuple[Tensor, ...]:
        """Returns the first `depth` maps, of which `maps` are computed already."""
        for number, stage in list(enumerate(self._stages(), start=1))[len(maps) - 1 : depth - 1]:
            x = maps[-1]
            before, after = inside[4 if number <= 2 else 8], inside[4 if number == 1 else 8]
            for block in stage:
                x = block(x, before, after)
                before = after
            maps.append(x * after)
        return tuple(maps)

    def _by_stage(self) -> list[tuple[nn.Module, ...]]:
        return [(self.conv1, self.bn1), *((stage,) for stage in self._stages())]

    def _stages(self) -> list[nn.ModuleList]:
        return [getattr(self, f"layer{number}") for number in range(1, len(self.channels))]


def _inside(padding: Tensor) -> dict[int, Tensor]:
    """Returns by stride where the image is, (B, 1, H/stride, W/stride)."""
    height, width = padding.shape[-2:]
    return {stride: image_mask_at(padding, height // stride, width // stride) for stride in (1, 2, 4, 8)}


def image_mask_at(padding: Tensor, height: int, width: int) -> Tensor:
    """Resizes padding (B, H, W) to a float32 mask (B, 1, height, width): 1 where a cell holds any of the image, else 0.

    An image of one row, letterboxed, thus still has cells.
    """
    cell = (padding.shape[1] // height, padding.shape[2] // width)
    return functional.max_pool2d((~padding)[:, None].float(), cell)
