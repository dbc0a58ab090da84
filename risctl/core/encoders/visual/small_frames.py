"""Adds a fourth, finer map to the light backbone, for images and clips. It reproduces no publication."""

from __future__ import annotations

from torch import Tensor

from risctl.core.encoders.base import VisualFeatures
from risctl.core.encoders.visual.clip_frames import features_of
from risctl.core.encoders.visual.small_cnn import SmallCNN


class SmallFrames(SmallCNN):
    """Encodes images or clips as maps of 32, 64, 128 and 160 channels at strides 4, 8, 16 and 32."""

    channels = (32, 64, 128, 160)  # type: ignore[assignment]
    strides = (4, 8, 16, 32)  # type: ignore[assignment]

    def forward(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) or clips (B, T, 3, H, W), RGB in [0, 1], with padding (B, H, W)."""
        hidden = padding[:, None] if images.ndim == 4 else padding[:, None, None]
        x = (2 * images - 1).masked_fill(hidden, 0.0)
        quarter = self.quarter(self.stem(x.flatten(0, 1) if images.ndim == 5 else x))
        eighth = self.eighth(quarter)
        sixteenth = self.sixteenth(eighth)
        maps = [quarter, eighth, sixteenth, self.thirtysecond(sixteenth)]
        return features_of(maps, images, padding, strides=self.strides)
