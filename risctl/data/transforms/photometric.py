"""The colour distortion of SSD, with the values drawn for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

_BRIGHTNESS = 32.0
_CONTRAST = (0.5, 1.5)
_SATURATION = (0.5, 1.5)
_HUE = 18.0  # degrees
_CHANNELS = (0, 1, 2)
_PERMUTATIONS = (_CHANNELS, (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotometricDistortion:
    """The colour distortion of SSD (Liu et al. 2016), with the values drawn for it.

    Attributes:
        brightness: Added to the pixels, of 255.
        contrast: Factor.
        saturation: Factor.
        hue: Rotation in degrees.
        contrast_first: Whether the contrast is applied before saturation and hue, or after.
        channels: The order of the colour channels in the result.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    contrast_first: bool = True
    channels: tuple[int, int, int] = _CHANNELS

    @classmethod
    def draw(cls, generator: np.random.Generator, *, swap_channels: float = 0.0) -> PhotometricDistortion:
        """Draws a distortion in which each change has probability 1/2.

        Args:
            generator: The only source of random draws.
            swap_channels: Probability that the channels are put in one of their six orders.
        """
        applied = generator.random(5) < 0.5
        brightness = generator.uniform(-_BRIGHTNESS, _BRIGHTNESS)
        contrast, saturation = generator.uniform(*_CONTRAST), generator.uniform(*_SATURATION)
        hue = generator.uniform(-_HUE, _HUE)
        return cls(
            brightness=brightness if applied[0] else 0.0,
            contrast=contrast if applied[1] else 1.0,
            saturation=saturation if applied[2] else 1.0,
            hue=hue if applied[3] else 0.0,
            contrast_first=bool(applied[4]),
            channels=_drawn_channels(generator, swap_channels),
        )

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """Returns an image, uint8 (H, W, 3), with its colours distorted."""
        distorted = pixels.astype(np.float32) + self.brightness
        if self.contrast_first:
            distorted *= self.contrast
        if self.saturation != 1.0 or self.hue:
            distorted = self._saturation_and_hue(to_uint8(distorted)).astype(np.float32)
        if not self.contrast_first:
            distorted *= self.contrast
        result = to_uint8(distorted)
        return result if self.channels == _CHANNELS else np.ascontiguousarray(result[..., list(self.channels)])

    def _saturation_and_hue(self, pixels: np.ndarray) -> np.ndarray:
        values = np.asarray(Image.fromarray(pixels).convert("HSV")).astype(np.int16)
        values[..., 0] = (values[..., 0] + round(self.hue * 256 / 360)) % 256
        values[..., 1] = np.rint(values[..., 1] * self.saturation).clip(0, 255)
        return np.asarray(Image.fromarray(values.astype(np.uint8), "HSV").convert("RGB"))


def _drawn_channels(generator: np.random.Generator, probability: float) -> tuple[int, int, int]:
    # Nothing is drawn at 0, so that trainings without it see what they saw.
    if probability > 0 and generator.random() < probability:
        return _PERMUTATIONS[int(generator.integers(len(_PERMUTATIONS)))]
    return _CHANNELS


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Returns values rounded and clipped to 0 to 255, as uint8."""
    return np.rint(values).clip(0, 255).astype(np.uint8)
