"""Runs ResNets with frozen norms and four maps, as DETR and mmdetection train them."""

from __future__ import annotations

from torch import Tensor, nn

from risctl.core.blocks import freeze
from risctl.core.encoders.base import VisualFeatures
from risctl.core.encoders.visual.clip_frames import features_of, normalised
from risctl.core.encoders.visual.resnet import ResNet


class FrozenResNet(ResNet):
    """Encodes images or clips as maps at strides 4, 8, 16 and 32.

    Batch norms keep their statistics, and their scales and shifts unless `learned_scales`; the first convolution and
    stage do not train either unless `trained_stem`. Sides need not be multiples of 32.
    """

    strides = (4, 8, 16, 32)  # type: ignore[assignment]

    def __init__(
        self,
        name: str,
        *,
        frozen: bool = False,
        learned_scales: bool = False,
        zero_residual: bool = False,
        trained_stem: bool = False,
    ) -> None:
        """Builds it with random weights.

        Args:
            name: One of `resnet.NAMES`.
            frozen: Whether no parameter trains.
            learned_scales: Whether the norms' scales and shifts train.
            zero_residual: Whether each block starts as the identity.
            trained_stem: Whether the first convolution and stage train, as in Mask2Former.
        """
        self.learned_scales = learned_scales
        self.trained_stem = trained_stem
        super().__init__(name, frozen=frozen, zero_residual=zero_residual)
        width = 64 if name == "resnet18" else 256
        self.channels = (width, 2 * width, 4 * width, 8 * width)  # type: ignore[assignment]

    def train(self, mode: bool = True) -> FrozenResNet:
        """Sets the training mode of everything that is not frozen."""
        super().train(mode)
        if not self.trained_stem:
            freeze((self.conv1, self.bn1, self.layer1))
        norms = [part for part in self.modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
        if self.learned_scales:
            for norm in norms:
                norm.eval()
        else:
            freeze(norms)
        return self

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) or clips (B, T, 3, H, W), RGB in [0, 1], with padding (B, H, W)."""
        x = self._quarter(images, padding)
        maps = [x := stage(x) for stage in self._stages()]
        return features_of(maps, images, padding, strides=self.strides)

    def before_stages(self, images: Tensor, padding: Tensor) -> Tensor:
        """Returns the input of the first stage, channels last, of images (B, 3, H, W) with padding (B, H, W)."""
        return self._quarter(images, padding).permute(0, 2, 3, 1)

    def run_stage(self, x: Tensor, number: int) -> Tensor:
        """Maps what the stage before `number` gave, (B, H, W, C), to this stage's map, channels last."""
        y: Tensor = self._stages()[number](x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1)

    def _quarter(self, images: Tensor, padding: Tensor) -> Tensor:
        x = normalised(images, padding, mean=self.mean, deviation=self.deviation)
        quarter: Tensor = self.maxpool(self.bn1(self.conv1(x.flatten(0, 1) if images.ndim == 5 else x)).relu_())
        return quarter

    def _stages(self) -> tuple[nn.Module, ...]:
        return self.layer1, self.layer2, self.layer3, self.layer4
