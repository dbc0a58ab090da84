"""Resizes images and maps with numpy, as torch does."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from PIL import Image

_MOST_BITS = 22
_LARGEST = 1 << 15
_SINGLE_BITS = 16
_LARGE = 1_000_000


def antialiased(pixels: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Resizes an image bilinearly with antialiasing, to the bit as torch does with bytes.

    Weights are whole numbers of 16 bits; columns come first, and are rounded to bytes before the rows. Images of more
    than a megapixel go through Pillow, which is far faster and differs by one level in some pixels.

    Args:
        pixels: Uint8 (H, W, C).
        height: Rows of the result.
        width: Columns of the result.

    Returns:
        Uint8 (height, width, C).
    """
    channels = pixels.shape[2]
    if pixels.shape[0] * pixels.shape[1] > _LARGE:
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    columns = np.ascontiguousarray(pixels.transpose(1, 0, 2)).reshape(pixels.shape[1], -1)
    resized = _first_axis(columns, width).reshape(width, pixels.shape[0], channels)
    rows = np.ascontiguousarray(resized.transpose(1, 0, 2)).reshape(pixels.shape[0], -1)
    return _first_axis(rows, height).reshape(height, width, channels)


def _first_axis(pixels: np.ndarray, size: int) -> np.ndarray:
    """Resizes uint8 (N, M) to (size, M)."""
    if pixels.shape[0] == size:
        return pixels
    places, weights, bits = _taps(pixels.shape[0], size)
    # Sums of bytes times weights are whole numbers that floats hold exactly, and are added faster than integers.
    exact = np.float32 if bits <= _SINGLE_BITS else np.float64
    source = pixels.astype(exact)
    total = np.full((size, pixels.shape[1]), 0.5 * (1 << bits), dtype=exact)
    part = np.empty_like(total)
    for place, weight in zip(places, weights, strict=True):
        np.take(source, place, axis=0, out=part, mode="clip")
        part *= weight[:, None].astype(exact)
        total += part
    total *= 2.0**-bits
    return total.astype(np.uint8)


@lru_cache(maxsize=64)
def _taps(length: int, size: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Returns pixels (K, size) and their weights int32 (K, size) for `size` outputs of `length` pixels, and their bits.

    The weights of an output sum to about 2 ** bits.
    """
    scale = length / size
    reach = max(scale, 1.0)
    most = math.ceil(reach) * 2 + 1
    centres = scale * (np.arange(size) + 0.5)
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    count = np.minimum((centres + reach + 0.5).astype(np.int64), length) - first
    number = np.arange(most)
    distances = (number + first[:, None] - centres[:, None] + 0.5) / reach
    weights = np.where(number < count[:, None], np.maximum(0.0, 1.0 - np.abs(distances)), 0.0)
    weights /= weights.sum(1, keepdims=True)
    places = np.minimum(first[:, None] + number, length - 1)
    bits = 0
    while bits < _MOST_BITS and int(0.5 + weights.max() * (1 << (bits + 1))) < _LARGEST:
        bits += 1
    whole = np.floor(weights * (1 << bits) + 0.5).astype(np.int32)
    used = max(1, int(np.flatnonzero(whole.any(0))[-1]) + 1)
    return np.ascontiguousarray(places[:, :used].T), np.ascontiguousarray(whole[:, :used].T), bits


def bilinear(maps: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Resizes a map, float32 (h, w), bilinearly without antialiasing, pixels being areas (`align_corners` False)."""
    return _between(_between(maps, height, axis=0), width, axis=1)


def _between(maps: np.ndarray, size: int, *, axis: int) -> np.ndarray:
    length = maps.shape[axis]
    if length == size:
        return maps
    first, second, share = _neighbours(length, size)
    share = share[:, None] if axis == 0 else share
    low = maps.take(first, axis=axis)
    high = maps.take(second, axis=axis)
    high -= low
    high *= share
    high += low
    return high


@lru_cache(maxsize=64)
def _neighbours(length: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    places = np.maximum((np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(length / size) - 0.5, 0)
    first = np.minimum(places.astype(np.int64), length - 1)
    return first, np.minimum(first + 1, length - 1), (places - first).astype(np.float32)


def nearest(maps: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Resizes a map (h, w) by the nearest pixel before each place, as torch's "nearest" does."""
    rows, columns = (
        np.minimum((np.arange(size, dtype=np.float32) * np.float32(length / size)).astype(np.int64), length - 1)
        for length, size in zip(maps.shape, (height, width), strict=True)
    )
    return maps[np.ix_(rows, columns)]
