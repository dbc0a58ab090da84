"""Augments training samples: flips, colour jitter, photometric distortion, random crops and input sizes.

All draws come from the generator that is passed, so that an item depends only on its seed. The frames of a clip are
flipped, cut and resized alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from risctl.data.records import Sample
from risctl.data.transforms.photometric import PhotometricDistortion, to_uint8
from risctl.language.flips import Swap, swap_left_right
from risctl.vision.resize import ImageRegion, ResizeShortest

_TRIES = 10
# Rec. 601 luma, as in JPEG and PIL's "L".
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomCrop:
    """A crop of the image resized to one of the shortest sides `short_sides`.

    Attributes:
        probability: Probability that a sample is cropped.
        short_sides: Shortest sides in pixels.
        min_size: Smallest side of the crop in pixels of the resized image.
        max_size: Largest side of the crop in pixels of the resized image.
        sizes: Shortest sides of the input after a crop, one of which is drawn; empty: those of other samples.
        longest: Pixels that the other side must not exceed at these sizes.
        keep_object: Whether a crop is drawn again, up to ten times and then given up, until it shows a part of the
            object.
    """

    probability: float = 0.5
    short_sides: tuple[int, ...] = (400, 500, 600)
    min_size: int = 384
    max_size: int = 600
    sizes: Sequence[int] = ()
    longest: int | None = None
    keep_object: bool = False

    def draw(self, mask: np.ndarray, generator: np.random.Generator) -> ImageRegion | None:
        """Draws a part of the image.

        Args:
            mask: True where the object is in any frame, bool (H, W).
            generator: The only source of random draws.

        Returns:
            The part to keep, None for the whole image.
        """
        if generator.random() >= self.probability:
            return None
        height, width = mask.shape
        short = self.short_sides[int(generator.integers(len(self.short_sides)))]
        resized = ResizeShortest.fit(height=height, width=width, short=short)
        for _ in range(_TRIES if self.keep_object else 1):
            columns = self._side(resized.inner_width, generator)
            rows = self._side(resized.inner_height, generator)
            region = ImageRegion(
                image_height=height,
                image_width=width,
                resized_height=resized.inner_height,
                resized_width=resized.inner_width,
                rows=rows,
                columns=columns,
            )
            if not self.keep_object or mask[region.pixels()].any() or not mask.any():
                return region
        return None

    def _side(self, length: int, generator: np.random.Generator) -> slice:
        kept = int(generator.integers(min(self.min_size, length), min(self.max_size, length) + 1))
        start = int(generator.integers(length - kept + 1))
        return slice(start, start + kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnAugmentations:
    """The augmentations drawn for one sample; of a clip, size and part are those of all frames.

    Attributes:
        distortions: The colour distortions of the frames, one for all if there is one; none if empty.
        region: The part of the image to keep, None for all.
        short: Shortest side of the input in pixels, None for the system's own.
        longest: Pixels that the other side must not exceed, None for the system's own bound.
    """

    distortions: tuple[PhotometricDistortion, ...] = ()
    region: ImageRegion | None = None
    short: int | None = None
    longest: int | None = None

    def colours(self, pixels: np.ndarray, *, frame: int = 0) -> np.ndarray:
        """Returns an image, uint8 (H, W, 3), the frame number `frame` of its clip, with its colours distorted."""
        if not self.distortions:
            return pixels
        return self.distortions[frame % len(self.distortions)].image(np.ascontiguousarray(pixels))

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the kept part of an image (H, W, 3), to whole pixels."""
        return pixels if self.region is None else np.ascontiguousarray(pixels[self.region.pixels()])

    def cut_masks(self, masks: np.ndarray) -> np.ndarray:
        """Returns masks (..., H, W) cut like the image."""
        return masks if self.region is None else np.ascontiguousarray(masks[(..., *self.region.pixels())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentations:
    """Which augmentations a training applies beyond flips and colour jitter.

    Attributes:
        photometric: Whether colours are distorted.
        per_frame: Whether each frame of a clip gets a distortion of its own, or all the same.
        swap_channels: Probability that a distortion permutes the colour channels.
        crop: The random crop, if any.
        sizes: Shortest sides of the input in pixels, one of which is drawn.
        longest: Pixels that the other side must not exceed.
        clipped_boxes: Whether the box of an object that is cut is its former box cut too, not that of what is left.
    """

    photometric: bool = False
    per_frame: bool = True
    swap_channels: float = 0.0
    crop: RandomCrop | None = None
    sizes: Sequence[int] = ()
    longest: int | None = None
    clipped_boxes: bool = False

    def __bool__(self) -> bool:
        return self.photometric or self.crop is not None or bool(self.sizes)

    def draw(self, mask: np.ndarray, generator: np.random.Generator, *, frames: int = 1) -> DrawnAugmentations:
        """Draws the augmentations of one sample.

        Args:
            mask: True where its object is in any of its frames, bool (H, W).
            generator: The only source of random draws.
            frames: Frames of the sample.
        """
        count = (frames if self.per_frame else 1) if self.photometric else 0
        distortions = tuple(
            PhotometricDistortion.draw(generator, swap_channels=self.swap_channels) for _ in range(count)
        )
        region = self.crop.draw(mask, generator) if self.crop is not None else None
        sizes, longest = self.sizes, self.longest
        if region is not None and self.crop is not None and self.crop.sizes:
            sizes, longest = self.crop.sizes, self.crop.longest
        short = int(generator.choice(sizes)) if sizes else None
        return DrawnAugmentations(distortions=distortions, region=region, short=short, longest=longest)


def flip(sample: Sample, *, swap: Swap = swap_left_right) -> Sample:
    """Returns `sample` flipped horizontally, "left" and "right" exchanged in its text by `swap`."""
    width, box = sample.mask.shape[1], sample.box
    # Views: turning the pixels of a whole image costs as much as decoding it, and much less once it is resized.
    return replace(
        sample,
        image=sample.image[:, ::-1],
        mask=sample.mask[:, ::-1],
        instances=tuple((category, mask[:, ::-1].copy()) for category, mask in sample.instances),
        text=swap(sample.text),
        mirrored=not sample.mirrored,
        box=None if box is None else (width - box[2], box[1], width - box[0], box[3]),
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
    return to_uint8(pixels)


def augment(
    sample: Sample, *, flip_share: float, colour: float, generator: np.random.Generator, swap: Swap = swap_left_right
) -> Sample:
    """Returns `sample` flipped with probability `flip_share` and its colours jittered with strength `colour`.

    The flip is drawn whatever its probability, so that turning it off does not change the jitter.

    Args:
        sample: The sample.
        flip_share: Probability of the flip.
        colour: Strength of the jitter.
        generator: The only source of random draws.
        swap: Exchanges left and right in the text of a flipped sample.
    """
    if generator.random() < flip_share:
        sample = flip(sample, swap=swap)
    if colour > 0:
        sample = replace(sample, image=jitter_colour(sample.image, strength=colour, generator=generator))
    return sample
