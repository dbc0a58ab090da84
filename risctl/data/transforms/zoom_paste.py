"""Other views of a picture with its things: a part of it or from farther off, and with things of another picture.

For systems that learn to find things. What a sentence says of its target may hold no more afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from risctl.data.records import Sample

_PART = 0.55  # the least share of each side that is kept
_NEAR, _FAR = 1.1, 0.75  # sizes of the picture in its frame; what is above 1 leaves it as it is
_BORDER = 115  # what is around a picture seen from farther off: near the mean of photographs
_VISIBLE = 0.3  # the least share of a thing that must stay for it to count as there
_PASTED = 3  # the most things pasted
_AREAS = (0.005, 0.4)  # what share of their picture things have that are worth pasting
_SIZES = (0.5, 1.5)  # by how much a pasted thing is scaled, if it is
_LARGEST = 0.8  # of the picture's side, the most that a pasted thing may have
_SMALLEST = 8  # pixels a side of a pasted thing, at least

Thing = tuple[int, np.ndarray]
"""Category id and mask bool (H, W)."""


def zoom(sample: Sample, *, generator: np.random.Generator) -> Sample:
    """Return a random part of `sample`, or of that a view with a border; things mostly cut away are left out.

    Of each side 55 to 100 % stay; the part then has 75 to 110 % of the frame's size, the latter being all of it.
    """
    height, width = sample.image.shape[:2]
    high, wide = (max(1, round(side * generator.uniform(_PART, 1))) for side in (height, width))
    top, left = int(generator.integers(height - high + 1)), int(generator.integers(width - wide + 1))
    part = (slice(top, top + high), slice(left, left + wide))
    size = min(1.0, generator.uniform(_FAR, _NEAR))
    frame = (round(high / size), round(wide / size))
    down, right = int(generator.integers(frame[0] - high + 1)), int(generator.integers(frame[1] - wide + 1))
    place = (slice(down, down + high), slice(right, right + wide))

    def seen(mask: np.ndarray) -> np.ndarray:
        framed = np.zeros(frame, dtype=bool)
        framed[place] = mask[part]
        return framed

    image = np.full((*frame, 3), _BORDER, dtype=np.uint8)
    image[place] = sample.image[part]
    things = [(category, seen(mask)) for category, mask in sample.things]
    return replace(sample, image=image, mask=seen(sample.mask), things=_still_there(sample.things, things))


def paste(sample: Sample, things: Sequence[Thing], *, pixels: np.ndarray, generator: np.random.Generator) -> Sample:
    """Return `sample` with one to three of the `things` of another picture, uint8 (H', W', 3), laid on it.

    They lie anywhere, half of them mirrored, half of them scaled; things mostly covered by them are left out. Very
    small and very large ones are not pasted. Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for
    Instance Segmentation" (2021).
    """
    fit = [one for one in things if _AREAS[0] <= one[1].mean() <= _AREAS[1]]
    count = min(int(generator.integers(1, _PASTED + 1)), len(fit))
    image, target, there = sample.image.copy(), sample.mask, list(sample.things)
    for choice in generator.permutation(len(fit))[:count]:
        category, mask = fit[choice]
        laid = _lay(image, mask, pixels=pixels, generator=generator)
        if laid is None:
            continue
        target = target & ~laid
        there = [*_still_there(there, [(own, shape & ~laid) for own, shape in there]), (category, laid)]
    return replace(sample, image=image, mask=target, things=tuple(there))


def _lay(
    image: np.ndarray, mask: np.ndarray, *, pixels: np.ndarray, generator: np.random.Generator
) -> np.ndarray | None:
    """Draw the thing `mask` of `pixels` somewhere on `image`, in place; return where it lies, None if too small."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    cut, shape = pixels[part], mask[part].astype(np.uint8) * 255
    mirrored, scaled = generator.random(2) < 0.5
    scale = generator.uniform(*_SIZES)
    if mirrored:
        cut, shape = cut[:, ::-1], shape[:, ::-1]
    # Pictures of one set may have several sizes: a thing has the same share of each.
    scale = (scale if scaled else 1.0) * max(image.shape[:2]) / max(pixels.shape[:2])
    scale = min(scale, *(_LARGEST * image.shape[axis] / cut.shape[axis] for axis in (0, 1)))
    size = [round(side * scale) for side in cut.shape[:2]]
    top, left = (int(generator.integers(max(1, image.shape[axis] - size[axis] + 1))) for axis in (0, 1))
    if min(size) < _SMALLEST:
        return None
    drawn = _resized(cut, size).astype(np.float32)
    soft = _resized(shape, size).astype(np.float32) / 255
    place = (slice(top, top + size[0]), slice(left, left + size[1]))
    image[place] = np.rint(drawn * soft[..., None] + image[place] * (1 - soft[..., None])).astype(np.uint8)
    laid = np.zeros(image.shape[:2], dtype=bool)
    laid[place] = soft > 0.5
    return laid


def _resized(pixels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _still_there(before: Sequence[Thing], after: Sequence[Thing]) -> tuple[Thing, ...]:
    return tuple(
        new
        for (_, old), new in zip(before, after, strict=True)
        if new[1].any() and np.count_nonzero(new[1]) >= _VISIBLE * np.count_nonzero(old)
    )
