"""Augments images with all their instances: zooms in or out, and pastes instances of another image.

These are for systems that learn to detect: what a sentence says of its target may no longer hold afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from risctl.data.records import Sample

_MIN_PART = 0.55  # smallest fraction of each side that is kept
_NEAR, _FAR = 1.1, 0.75  # sizes of the image within its frame; above 1, it keeps its size
_BORDER = 115  # value around an image that is zoomed out, near the mean of photographs
_VISIBLE = 0.3  # smallest fraction of an instance that must stay visible for it to be kept
_MAX_PASTED = 3
_AREAS = (0.005, 0.4)  # areas of instances worth pasting, as fractions of their image
_SCALES = (0.5, 1.5)  # scale factors of pasted instances, where they are scaled
_MAX_SIDE = 0.8  # largest side of a pasted instance, as a fraction of the image's
_MIN_SIDE = 8  # smallest side of a pasted instance in pixels

Instance = tuple[int, np.ndarray]
"""Category id and mask, bool (H, W)."""


def zoom(sample: Sample, *, generator: np.random.Generator) -> Sample:
    """Returns a random part of `sample`, enlarged or surrounded by a border.

    55 to 100 % of each side are kept; they then take up 75 to 100 % of the frame. Instances that are mostly cut away
    are left out.

    Args:
        sample: The sample, with its `instances`.
        generator: The only source of random draws.

    Returns:
        The zoomed sample, of another size.
    """
    height, width = sample.image.shape[:2]
    part_height, part_width = (max(1, round(side * generator.uniform(_MIN_PART, 1))) for side in (height, width))
    top, left = int(generator.integers(height - part_height + 1)), int(generator.integers(width - part_width + 1))
    part = (slice(top, top + part_height), slice(left, left + part_width))
    size = min(1.0, generator.uniform(_FAR, _NEAR))
    frame = (round(part_height / size), round(part_width / size))
    top, left = int(generator.integers(frame[0] - part_height + 1)), int(generator.integers(frame[1] - part_width + 1))
    inside = (slice(top, top + part_height), slice(left, left + part_width))

    def framed(mask: np.ndarray) -> np.ndarray:
        result = np.zeros(frame, dtype=bool)
        result[inside] = mask[part]
        return result

    image = np.full((*frame, 3), _BORDER, dtype=np.uint8)
    image[inside] = sample.image[part]
    instances = [(category, framed(mask)) for category, mask in sample.instances]
    visible = _still_visible(sample.instances, instances)
    return replace(sample, image=image, mask=framed(sample.mask), instances=visible)


def paste(
    sample: Sample, instances: Sequence[Instance], *, pixels: np.ndarray, generator: np.random.Generator
) -> Sample:
    """Returns `sample` with one to three instances of another image pasted on it.

    They lie anywhere, half of them flipped, half of them scaled. Instances that they mostly cover are left out; very
    small and very large ones are not pasted. Source: Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation
    Method for Instance Segmentation" (2021).

    Args:
        sample: The sample, with its `instances`.
        instances: Instances of the other image, masks bool (H', W').
        pixels: The other image, uint8 (H', W', 3).
        generator: The only source of random draws.

    Returns:
        The sample, of unchanged size.
    """
    suitable = [instance for instance in instances if _AREAS[0] <= instance[1].mean() <= _AREAS[1]]
    count = min(int(generator.integers(1, _MAX_PASTED + 1)), len(suitable))
    image, target, visible = sample.image.copy(), sample.mask, list(sample.instances)
    for choice in generator.permutation(len(suitable))[:count]:
        category, mask = suitable[choice]
        pasted = _paste(image, mask, pixels=pixels, generator=generator)
        if pasted is None:
            continue
        target = target & ~pasted
        visible = [*_still_visible(visible, [(own, shape & ~pasted) for own, shape in visible]), (category, pasted)]
    return replace(sample, image=image, mask=target, instances=tuple(visible))


def _paste(
    image: np.ndarray, mask: np.ndarray, *, pixels: np.ndarray, generator: np.random.Generator
) -> np.ndarray | None:
    """Pastes the instance `mask` of `pixels` on `image`, in place; returns its new mask, None if it is too small."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    cut, shape = pixels[part], mask[part].astype(np.uint8) * 255
    flipped, scaled = generator.random(2) < 0.5
    scale = generator.uniform(*_SCALES)
    if flipped:
        cut, shape = cut[:, ::-1], shape[:, ::-1]
    # Images of one dataset may differ in size: an instance keeps its fraction of the image.
    scale = (scale if scaled else 1.0) * max(image.shape[:2]) / max(pixels.shape[:2])
    scale = min(scale, *(_MAX_SIDE * image.shape[axis] / cut.shape[axis] for axis in (0, 1)))
    size = [round(side * scale) for side in cut.shape[:2]]
    top, left = (int(generator.integers(max(1, image.shape[axis] - size[axis] + 1))) for axis in (0, 1))
    if min(size) < _MIN_SIDE:
        return None
    resized = _resize(cut, size).astype(np.float32)
    alpha = _resize(shape, size).astype(np.float32) / 255
    inside = (slice(top, top + size[0]), slice(left, left + size[1]))
    image[inside] = np.rint(resized * alpha[..., None] + image[inside] * (1 - alpha[..., None])).astype(np.uint8)
    pasted = np.zeros(image.shape[:2], dtype=bool)
    pasted[inside] = alpha > 0.5
    return pasted


def _resize(pixels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BILINEAR))


def _still_visible(before: Sequence[Instance], after: Sequence[Instance]) -> tuple[Instance, ...]:
    return tuple(
        new
        for (_, old), new in zip(before, after, strict=True)
        if new[1].any() and np.count_nonzero(new[1]) >= _VISIBLE * np.count_nonzero(old)
    )
