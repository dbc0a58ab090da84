"""Random changes of training pictures beyond mirroring: colours distorted, a part cut out, other sizes.

What is drawn is drawn once and done to every frame of a clip alike. All draws come from the generator that is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

_BRIGHTNESS = 32.0
_CONTRAST = (0.5, 1.5)
_SATURATION = (0.5, 1.5)
_HUE = 18.0  # degrees
_TRIES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Distortion:
    """Colours distorted as SSD does (Liu et al. 2016, section 2.2), with what was drawn for it.

    brightness: added, of 255; contrast, saturation: factors; hue: degrees; contrast_first: before the others, or after.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    contrast_first: bool = True

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Distortion:
        """Draw one: each change every other time."""
        taken = generator.random(5) < 0.5
        brightness = generator.uniform(-_BRIGHTNESS, _BRIGHTNESS)
        contrast, saturation = generator.uniform(*_CONTRAST), generator.uniform(*_SATURATION)
        hue = generator.uniform(-_HUE, _HUE)
        return cls(
            brightness=brightness if taken[0] else 0.0,
            contrast=contrast if taken[1] else 1.0,
            saturation=saturation if taken[2] else 1.0,
            hue=hue if taken[3] else 0.0,
            contrast_first=bool(taken[4]),
        )

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """Return a uint8 picture (H, W, 3) with its colours distorted."""
        changed = pixels.astype(np.float32) + self.brightness
        if self.contrast_first:
            changed *= self.contrast
        if self.saturation != 1.0 or self.hue:
            changed = self._turned(_bytes(changed)).astype(np.float32)
        if not self.contrast_first:
            changed *= self.contrast
        return _bytes(changed)

    def _turned(self, pixels: np.ndarray) -> np.ndarray:
        values = np.asarray(Image.fromarray(pixels).convert("HSV")).astype(np.int16)
        values[..., 0] = (values[..., 0] + round(self.hue * 256 / 360)) % 256
        values[..., 1] = np.rint(values[..., 1] * self.saturation).clip(0, 255)
        return np.asarray(Image.fromarray(values.astype(np.uint8), "HSV").convert("RGB"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A part of the picture, as large as if the picture were scaled to one of `short_sides` first.

    probability: that a sample is cropped; min_size, max_size: sides of the part in pixels of the scaled picture. The
    picture itself is not scaled here: what follows scales it anyway, and once is better than twice.
    """

    probability: float = 0.5
    short_sides: tuple[int, ...] = (400, 500, 600)
    min_size: int = 384
    max_size: int = 600

    def draw(self, shown: np.ndarray, generator: np.random.Generator) -> tuple[slice, slice] | None:
        """Return the rows and columns to keep of a picture, None for all of it.

        shown: bool (H, W), where the object is in any frame. A part without a pixel of an object that is there is drawn
        again, ten times; then the picture stays whole.
        """
        if generator.random() >= self.probability:
            return None
        scale = self.short_sides[int(generator.integers(len(self.short_sides)))] / min(shown.shape)
        for _ in range(_TRIES):
            rows, columns = (self._side(side, scale, generator) for side in shown.shape)
            if shown[rows, columns].any() or not shown.any():
                return rows, columns
        return None

    def _side(self, length: int, scale: float, generator: np.random.Generator) -> slice:
        whole = round(length * scale)
        part = int(generator.integers(min(self.min_size, whole), min(self.max_size, whole) + 1))
        kept = min(length, max(1, round(part / scale)))
        start = int(generator.integers(length - kept + 1))
        return slice(start, start + kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What is done to all frames of one sample. short: the short side of its input, None: the system's own."""

    distortion: Distortion | None = None
    part: tuple[slice, slice] | None = None
    short: int | None = None

    def picture(self, pixels: np.ndarray) -> np.ndarray:
        """Return a uint8 picture (H, W, 3) changed."""
        if self.part is not None:
            pixels = pixels[self.part]
        if self.distortion is not None:
            pixels = self.distortion.picture(np.ascontiguousarray(pixels))
        return np.ascontiguousarray(pixels)

    def masks(self, masks: np.ndarray) -> np.ndarray:
        """Return masks (..., H, W) changed alike."""
        return masks if self.part is None else np.ascontiguousarray(masks[..., self.part[0], self.part[1]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Which changes there are. sizes: short sides of the input; longest: what its other side may not pass there."""

    photometric: bool = False
    crop: Crop | None = None
    sizes: Sequence[int] = ()
    longest: int | None = None

    def __bool__(self) -> bool:
        return self.photometric or self.crop is not None or bool(self.sizes)

    def draw(self, shown: np.ndarray, generator: np.random.Generator) -> Drawn:
        """Draw what is done to a sample whose object is at `shown`, bool (H, W), in any of its frames."""
        distortion = Distortion.draw(generator) if self.photometric else None
        part = self.crop.draw(shown, generator) if self.crop is not None else None
        short = int(generator.choice(self.sizes)) if self.sizes else None
        return Drawn(distortion=distortion, part=part, short=short)


def _bytes(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
