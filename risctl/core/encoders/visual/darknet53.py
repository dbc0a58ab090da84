"""Implements Darknet-53 with the six head blocks of YOLOv3 on top, as VLT uses it (Redmon & Farhadi 2018)."""

from __future__ import annotations

from torch import Tensor, nn

from risctl.core.blocks import ConvBlock, freeze
from risctl.core.encoders.base import VisualFeatures

STAGES = (1, 2, 8, 8, 4)
"""Residual units in each of the five stages; stage i runs at stride 2**(i + 1)."""


class Residual(nn.Module):
    """A 1x1 block that halves the channels, a 3x3 block that restores them, and the sum."""

    def __init__(self, channels: int, *, norm_momentum: float) -> None:
        super().__init__()
        self.reduce = ConvBlock(channels, channels // 2, norm_momentum=norm_momentum)
        self.expand = ConvBlock(channels // 2, channels, kernel=3, norm_momentum=norm_momentum)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        return x + self.expand(self.reduce(x))


class Darknet53(nn.Module):
    """Encodes images as maps of 256, 512 and 1024 channels at strides 8, 16 and 32.

    The finest two are the outputs of the third and fourth stage (layers 92 and 152 of the Keras model), the coarsest
    that of the head. Images are RGB in [0, 1] and not normalised.
    """

    channels = (256, 512, 1024)
    strides = (8, 16, 32)

    def __init__(
        self, *, frozen_convolutions: int = 56, batch_statistics: bool = True, norm_momentum: float = 0.01
    ) -> None:
        """Builds the backbone with its first `frozen_convolutions` (of 58, in order) and their norms frozen.

        Args:
            frozen_convolutions: How many blocks, from the first on, do not train.
            batch_statistics: Whether the frozen norms normalise by the statistics of the batch in training, as the
                published code does: in Keras 2.3.1 `trainable=False` stops a norm's updates, but not its training
                phase. Their stored statistics, which evaluation uses, never change.
            norm_momentum: Momentum of the norms that train.
        """
        super().__init__()
        self.batch_statistics = batch_statistics
        self.stem = ConvBlock(3, 32, kernel=3, norm_momentum=norm_momentum)
        stages = []
        width = 32
        for units in STAGES:
            down = ConvBlock(width, 2 * width, kernel=3, stride=2, norm_momentum=norm_momentum)
            width *= 2
            stages.append(nn.Sequential(down, *(Residual(width, norm_momentum=norm_momentum) for _ in range(units))))
        self.stages = nn.ModuleList(stages)
        self.head = nn.Sequential(
            *(
                block
                for _ in range(3)
                for block in (
                    ConvBlock(1024, 512, norm_momentum=norm_momentum),
                    ConvBlock(512, 1024, kernel=3, norm_momentum=norm_momentum),
                )
            )
        )
        self.frozen_convolutions = frozen_convolutions
        freeze(self._frozen())
        if batch_statistics:
            for block in self._frozen():
                block.norm.momentum = 0.0  # in training mode a norm with this momentum keeps its stored statistics

    def blocks(self) -> list[ConvBlock]:
        """Returns the 58 convolution blocks in the order in which Darknet and Keras number them."""
        return [module for module in self.modules() if isinstance(module, ConvBlock)]

    def train(self, mode: bool = True) -> Darknet53:
        """Sets the training mode of everything that is not frozen, and of frozen norms with batch statistics."""
        super().train(mode)
        freeze(self._frozen())
        if self.batch_statistics:
            for block in self._frozen():
                block.norm.train(mode)
        return self

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W), sides multiples of 32, with padding (B, H, W)."""
        return self.finish(self.begin(images, padding), padding)

    def frozen_part(self) -> list[ConvBlock]:
        """Returns the frozen blocks; none if a block before the head trains."""
        return self._frozen() if self.frozen_convolutions >= len(self.blocks()) - len(self.head) else []

    def begin(self, images: Tensor, padding: Tensor) -> tuple[Tensor, ...]:
        """Returns the maps at strides 8 and 16, and the output of the head's frozen blocks."""
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[2], maps[3], self.head[: self._frozen_in_head()](x)

    def finish(self, parts: tuple[Tensor, ...], padding: Tensor) -> VisualFeatures:
        """Returns the features of the output of `begin`."""
        eighth, sixteenth, x = parts
        x = self.head[self._frozen_in_head() :](x)
        return VisualFeatures(maps=(eighth, sixteenth, x), strides=self.strides, padding=padding)

    def _frozen_in_head(self) -> int:
        return max(0, self.frozen_convolutions - (len(self.blocks()) - len(self.head)))

    def _frozen(self) -> list[ConvBlock]:
        return self.blocks()[: self.frozen_convolutions]
