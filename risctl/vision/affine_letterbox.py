"""Letterboxes an image by an affine warp, as CRIS and the codebases that follow it do, and warps predictions back.

The warp is OpenCV's classic `warpAffine` (before version 5): positions are rounded to 1/32 pixel, and weights of 8-bit
images to 1/32768. The rule is written out in this project's parity case, and reproduced exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

BORDER = (123, 117, 104)
"""CLIP's mean colour in 8 bits, RGB: what surrounds the image."""

_STEPS, _FINE = 32, 1024
_CUBIC = -0.75
_ONE = 2**15
_BEFORE = {4: 1, 2: 0}
"""Pixels before the position that a kernel of 4 or 2 taps begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AffineLetterbox:
    """An image scaled to fit a square and centred in it, to fractions of a pixel. A `Geometry`.

    Attributes:
        height: Height of the original image in pixels.
        width: Width of the original image in pixels.
        size: Side of the input in pixels.
    """

    height: int
    width: int
    size: int

    def matrices(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the affine maps from the image to the input and back, float64 (2, 3).

        Each is fitted to three corners in float32, as published, so that they are inverse to each other up to rounding
        only.
        """
        scale = min(self.size / self.height, self.size / self.width)
        left, top = (self.size - self.width * scale) / 2, (self.size - self.height * scale) / 2
        image = np.array([(0, 0), (self.width, 0), (0, self.height)], dtype=np.float32)
        inside = np.array(
            [(left, top), (self.width * scale + left, top), (left, self.height * scale + top)], dtype=np.float32
        )
        return _fitted(image, inside), _fitted(inside, image)

    def padding(self) -> Tensor:
        """Returns the padding mask, bool (size, size), True where the warp shows nothing of the image."""
        forward, _ = self.matrices()
        rows = _reached(_rows(forward, self.size)[0], self.height, 4)
        columns = _reached(_columns(forward, self.size)[0], self.width, 4)
        padding = torch.ones((self.size, self.size), dtype=torch.bool)
        padding[slice(*rows), slice(*columns)] = False
        return padding

    def image(self, image: np.ndarray) -> np.ndarray:
        """Warps an image, uint8 (height, width, 3), to uint8 (size, size, 3): cubic, without antialiasing."""
        forward, _ = self.matrices()
        planes = [
            _warp_bytes(image[..., channel], forward, size=(self.size, self.size), taps=4, border=border)
            for channel, border in enumerate(BORDER)
        ]
        return np.stack(planes, axis=-1)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Warps a mask, bool (height, width), to uint8 (size, size) with soft edges: 255 times it, bilinear."""
        forward, _ = self.matrices()
        pixels = mask.astype(np.uint8) * 255
        return _warp_bytes(pixels, forward, size=(self.size, self.size), taps=2, border=0)

    def resized(self, maps: Tensor) -> Tensor:
        """Resizes maps (N, h, w) to the input's size: bicubic, the corners' centres aligned (the first resize)."""
        size = (self.size, self.size)
        if maps.shape[-2:] == size:
            return maps
        return functional.interpolate(maps[:, None], size=size, mode="bicubic", align_corners=True)[:, 0]

    def restored(self, maps: Tensor) -> Tensor:
        """Warps maps (N, size, size) back to the image, (N, height, width): cubic (the second resize).

        A cubic warp goes beyond the range of its values at edges.
        """
        _, inverse = self.matrices()
        return _warp_floats(maps.float(), inverse, height=self.height, width=self.width)

    def invert(self, maps: Tensor) -> Tensor:
        """Maps (N, h, w) in [0, 1] back to the original image, (N, height, width) in [0, 1], in two resizes."""
        return self.restored(self.resized(maps.float())).clamp_(0, 1)


def _fitted(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Returns the affine map (2, 3) that takes three points (3, 2) to three others.

    The six equations are solved by elimination in OpenCV's order: the last bit of the map can move a position by 1/32
    pixel.
    """
    rows = []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows += [[x, y, 1, 0, 0, 0, u], [0, 0, 0, x, y, 1, v]]
    system = np.array(rows, dtype=np.float64)
    for step in range(6):
        pivot = step + int(np.abs(system[step:, step]).argmax())
        system[[step, pivot]] = system[[pivot, step]]
        inverse = -1 / system[step, step]
        for row in range(step + 1, 6):
            system[row, step + 1 :] += system[row, step] * inverse * system[step, step + 1 :]
    solution = np.zeros(6)
    for step in reversed(range(6)):
        rest = system[step, 6]
        for column in range(step + 1, 6):
            rest -= system[step, column] * solution[column]
        solution[step] = rest / system[step, step]
    fitted = solution.reshape(2, 3)
    fitted[0, 1] = fitted[1, 0] = 0.0  # zero but for rounding: the axes stay
    return fitted


def _columns(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the pixel that each of `count` columns begins at, and how many 32nds beyond it is."""
    (scale, _), (shift, _) = _inverted(matrix)
    return _steps(np.rint(np.arange(count) * scale * _FINE) + np.rint(shift * _FINE))


def _rows(matrix: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns what `_columns` does for rows, whose shift is added before rounding."""
    (_, scale), (_, shift) = _inverted(matrix)
    return _steps(np.rint((np.arange(count) * scale + shift) * _FINE))


def _inverted(matrix: np.ndarray) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns scales and shifts (x, y) from target to source of a map from source to target."""
    across, down = float(matrix[0, 0]), float(matrix[1, 1])
    inverse = 1.0 / (across * down)
    scales = (down * inverse, across * inverse)
    return scales, (-scales[0] * float(matrix[0, 2]), -scales[1] * float(matrix[1, 2]))


def _steps(fine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    steps = (fine.astype(np.int64) + _FINE // _STEPS // 2) >> 5
    return steps >> 5, steps & (_STEPS - 1)


@cache
def _kernels(taps: int) -> np.ndarray:
    """Returns the weights of the taps at each 32nd of a pixel, float32 (32, taps)."""
    t = np.arange(_STEPS, dtype=np.float32) / np.float32(_STEPS)
    if taps == 2:
        return np.stack([1 - t, t], axis=1)
    a = np.float32(_CUBIC)
    first = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a
    second = ((a + 2) * t - (a + 3)) * t * t + 1
    third = ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1
    return np.stack([first, second, third, 1 - first - second - third], axis=1).astype(np.float32)


@cache
def _whole_kernels(taps: int) -> np.ndarray:
    """Returns the weights of 8-bit images in 32768ths, int32 (32, 32, taps, taps), by 32nds down and across.

    Where the rounded weights do not sum to 1, one of the middle ones takes the difference: the largest if the sum is
    too small, the smallest if it is too large.
    """
    one = _kernels(taps)
    weights = np.rint(one[:, None, :, None] * one[None, :, None, :] * np.float32(_ONE)).astype(np.int32)
    first = taps // 2
    for down, across in np.argwhere(weights.sum(axis=(2, 3)) != _ONE):
        table = weights[down, across]
        missing = _ONE - int(table.sum())
        middle = table[first : first + 2, first : first + 2]
        place = np.unravel_index(middle.argmax() if missing > 0 else middle.argmin(), middle.shape)
        middle[place] += missing
    return weights


def _warp_bytes(plane: np.ndarray, matrix: np.ndarray, *, size: tuple[int, int], taps: int, border: int) -> np.ndarray:
    """Warps one channel, uint8 (h, w), by the map from it to the output of `size`."""
    height, width = plane.shape
    rows, columns = _rows(matrix, size[0]), _columns(matrix, size[1])
    out = np.full(size, border, dtype=np.uint8)
    # Where no tap lies in the image there is border alone; the rest is one rectangle.
    (top, bottom), (left, right) = (
        _reached(places, length, taps) for (places, _), length in ((rows, height), (columns, width))
    )
    if top == bottom or left == right:
        return out
    down, across = rows[1][top:bottom], columns[1][left:right]
    padded = np.pad(plane, 1, constant_values=border)
    total = np.full((bottom - top, right - left), _ONE // 2, dtype=np.int32)
    weights = _whole_kernels(taps)
    for dx in range(taps):
        x = (columns[0][left:right] + dx - _BEFORE[taps] + 1).clip(0, width + 1)
        strip = padded[:, x].astype(np.int32)
        for dy in range(taps):
            y = (rows[0][top:bottom] + dy - _BEFORE[taps] + 1).clip(0, height + 1)
            total += strip[y] * weights[:, :, dy, dx][down][:, across]
    out[top:bottom, left:right] = (total >> 15).clip(0, 255)
    return out


def _reached(places: np.ndarray, length: int, taps: int) -> tuple[int, int]:
    """Returns the range of outputs of which a tap lies within `length` source pixels."""
    inside = np.flatnonzero((places - _BEFORE[taps] + taps - 1 >= 0) & (places - _BEFORE[taps] < length))
    return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)


def _warp_floats(maps: Tensor, matrix: np.ndarray, *, height: int, width: int) -> Tensor:
    """Warps maps (N, h, w) by the map from them to the output, cubic, zeros outside."""
    for (places, fractions), count in ((_columns(matrix, width), width), (_rows(matrix, height), height)):
        length = maps.shape[-1]
        kernels = torch.from_numpy(_kernels(4)[fractions]).to(maps.device)
        padded = functional.pad(maps, (1, 1))
        total = torch.zeros((*maps.shape[:-1], count), device=maps.device)
        for tap in range(4):
            index = torch.from_numpy((places + tap - _BEFORE[4] + 1).clip(0, length + 1)).to(maps.device)
            total += padded[..., index] * kernels[:, tap]
        # Down the columns next, and back to rows after that.
        maps = total.transpose(-1, -2)
    return maps.contiguous()
