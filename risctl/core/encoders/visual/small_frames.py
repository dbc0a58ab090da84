"""Adds a fourth, finer map to the light backbone, for images and clips. It reproduces no publication."""

from __future__ import annotations

from torch import Tensor, nn

from risctl.core.encoders.base import VisualFeatures
from risctl.core.encoders.visual.clip_frames import features_of
from risctl.core.encoders.visual.small_cnn import SmallCNN


class SmallFrames(SmallCNN):
    """Encodes images or clips as maps of 32, 64, 128 and 160 channels at strides 4, 8, 16 and 32."""

    channels = (32, 64, 128, 160)  # type: ignore[assignment]
    strides = (4, 8, 16, 32)  # type: ignore[assignment]

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) or clips (B, T, 3, H, W), RGB in [0, 1], with padding (B, H, W)."""
        x = self._half(images, padding)
        maps = [x := stage(x) for stage in self._stages()]
        return features_of(maps, images, padding, strides=self.strides)

    def before_stages(self, images: Tensor, padding: Tensor) -> Tensor:
        """Returns the input of the first stage, channels last, of images (B, 3, H, W) with padding (B, H, W)."""
        return self._half(images, padding).permute(0, 2, 3, 1)

    def run_stage(self, x: Tensor, number: int) -> Tensor:
        """Maps what the stage before `number` gave, (B, H, W, C), to this stage's map, channels last."""
        y: Tensor = self._stages()[number](x.permute(0, 3, 1, 2))
        return y.permute(0, 2, 3, 1)

    def _half(self, images: Tensor, padding: Tensor) -> Tensor:
        hidden = padding[:, None] if images.ndim == 4 else padding[:, None, None]
        x = (2 * images - 1).masked_fill(hidden, 0.0)
        half: Tensor = self.stem(x.flatten(0, 1) if images.ndim == 5 else x)
        return half

    def _stages(self) -> tuple[nn.Module, ...]:
        return self.quarter, self.eighth, self.sixteenth, self.thirtysecond
