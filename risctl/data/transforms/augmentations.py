"""Augments training samples: flips, colour jitter, photometric distortion, random crops and input sizes.

All draws come from the generator that is passed, so that an item depends only on its seed. The augmentations of a clip
are drawn once and applied to all of its frames alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from risctl.data.records import Sample
from risctl.language.flips import swap_left_right

_BRIGHTNESS = 32.0
_CONTRAST = (0.5, 1.5)
_SATURATION = (0.5, 1.5)
_HUE = 18.0  # degrees
_TRIES = 10
# Rec. 601 luma, as in JPEG and PIL's "L".
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotometricDistortion:
    """The colour distortion of SSD (Liu et al. 2016, section 2.2), with the values drawn for it.

    Attributes:
        brightness: Added to the pixels, of 255.
        contrast: Factor.
        saturation: Factor.
        hue: Rotation in degrees.
        contrast_first: Whether the contrast is applied before saturation and hue, or after.
    """

    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    contrast_first: bool = True

    @classmethod
    def draw(cls, generator: np.random.Generator) -> PhotometricDistortion:
        """Draws a distortion in which each change has probability 1/2."""
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
        )

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """Returns an image, uint8 (H, W, 3), with its colours distorted."""
        distorted = pixels.astype(np.float32) + self.brightness
        if self.contrast_first:
            distorted *= self.contrast
        if self.saturation != 1.0 or self.hue:
            distorted = self._saturation_and_hue(_to_uint8(distorted)).astype(np.float32)
        if not self.contrast_first:
            distorted *= self.contrast
        return _to_uint8(distorted)

    def _saturation_and_hue(self, pixels: np.ndarray) -> np.ndarray:
        values = np.asarray(Image.fromarray(pixels).convert("HSV")).astype(np.int16)
        values[..., 0] = (values[..., 0] + round(self.hue * 256 / 360)) % 256
        values[..., 1] = np.rint(values[..., 1] * self.saturation).clip(0, 255)
        return np.asarray(Image.fromarray(values.astype(np.uint8), "HSV").convert("RGB"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomCrop:
    """A crop whose size is drawn as if the image were first resized to one of the shortest sides `short_sides`.

    The image itself is not resized here: the preprocess does that anyway, and once is better than twice.

    Attributes:
        probability: Probability that a sample is cropped.
        short_sides: Shortest sides in pixels.
        min_size: Smallest side of the crop in pixels of the resized image.
        max_size: Largest side of the crop in pixels of the resized image.
    """

    probability: float = 0.5
    short_sides: tuple[int, ...] = (400, 500, 600)
    min_size: int = 384
    max_size: int = 600

    def draw(self, mask: np.ndarray, generator: np.random.Generator) -> tuple[slice, slice] | None:
        """Draws a crop that contains a part of the object, if there is one; after ten failures it gives up.

        Args:
            mask: True where the object is in any frame, bool (H, W).
            generator: The only source of random draws.

        Returns:
            The rows and columns to keep, None for the whole image.
        """
        if generator.random() >= self.probability:
            return None
        scale = self.short_sides[int(generator.integers(len(self.short_sides)))] / min(mask.shape)
        for _ in range(_TRIES):
            rows, columns = (self._side(length, scale, generator) for length in mask.shape)
            if mask[rows, columns].any() or not mask.any():
                return rows, columns
        return None

    def _side(self, length: int, scale: float, generator: np.random.Generator) -> slice:
        resized = round(length * scale)
        cropped = int(generator.integers(min(self.min_size, resized), min(self.max_size, resized) + 1))
        kept = min(length, max(1, round(cropped / scale)))
        start = int(generator.integers(length - kept + 1))
        return slice(start, start + kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnAugmentations:
    """The augmentations drawn for one sample, applied to all of its frames.

    Attributes:
        distortion: The colour distortion, if any.
        crop: Rows and columns to keep, None for all.
        short: Shortest side of the input in pixels, None for the system's own.
    """

    distortion: PhotometricDistortion | None = None
    crop: tuple[slice, slice] | None = None
    short: int | None = None

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """Returns an image, uint8 (H, W, 3), augmented."""
        if self.crop is not None:
            pixels = pixels[self.crop]
        if self.distortion is not None:
            pixels = self.distortion.image(np.ascontiguousarray(pixels))
        return np.ascontiguousarray(pixels)

    def masks(self, masks: np.ndarray) -> np.ndarray:
        """Returns masks (..., H, W) cropped like the image."""
        return masks if self.crop is None else np.ascontiguousarray(masks[..., self.crop[0], self.crop[1]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentations:
    """Which augmentations a training applies beyond flips and colour jitter.

    Attributes:
        photometric: Whether colours are distorted.
        crop: The random crop, if any.
        sizes: Shortest sides of the input in pixels, one of which is drawn.
        longest: Pixels that the other side must not exceed.
    """

    photometric: bool = False
    crop: RandomCrop | None = None
    sizes: Sequence[int] = ()
    longest: int | None = None

    def __bool__(self) -> bool:
        return self.photometric or self.crop is not None or bool(self.sizes)

    def draw(self, mask: np.ndarray, generator: np.random.Generator) -> DrawnAugmentations:
        """Draws the augmentations of one sample, whose object is at `mask`, bool (H, W), in any of its frames."""
        distortion = PhotometricDistortion.draw(generator) if self.photometric else None
        crop = self.crop.draw(mask, generator) if self.crop is not None else None
        short = int(generator.choice(self.sizes)) if self.sizes else None
        return DrawnAugmentations(distortion=distortion, crop=crop, short=short)


def flip(sample: Sample) -> Sample:
    """Returns `sample` flipped horizontally, "left" and "right" exchanged in its text."""
    return replace(
        sample,
        image=sample.image[:, ::-1].copy(),
        mask=sample.mask[:, ::-1].copy(),
        instances=tuple((category, mask[:, ::-1].copy()) for category, mask in sample.instances),
        text=swap_left_right(sample.text),
        mirrored=not sample.mirrored,
    )


def jitter_colour(image: np.ndarray, *, strength: float, generator: np.random.Generator) -> np.ndarray:
    """Returns an image, uint8 (H, W, 3), with brightness, contrast and saturation each scaled by 1 ± `strength`.

    The hue stays, since expressions name colours.
    """
    brightness, contrast, saturation = generator.uniform(1 - strength, 1 + strength, size=3).astype(np.float32)
    pixels = image.astype(np.float32) * brightness
    grey = pixels @ _LUMA
    pixels = (pixels - grey.mean()) * contrast + grey.mean()
    grey = (pixels @ _LUMA)[..., None]
    pixels = (pixels - grey) * saturation + grey
    return _to_uint8(pixels)


def augment(sample: Sample, *, flip_share: float, colour: float, generator: np.random.Generator) -> Sample:
    """Returns `sample` flipped with probability `flip_share` and its colours jittered with strength `colour`.

    The flip is drawn whatever its probability, so that turning it off does not change the jitter.
    """
    if generator.random() < flip_share:
        sample = flip(sample)
    if colour > 0:
        sample = replace(sample, image=jitter_colour(sample.image, strength=colour, generator=generator))
    return sample


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.rint(values).clip(0, 255).astype(np.uint8)
