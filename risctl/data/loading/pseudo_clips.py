"""Turns images into clips that a slowly moving camera could have taken, to train on images and videos together.

A motion is drawn once and runs evenly over the clip, half before the image and half after it, so that locations that an
expression names change as little as possible.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_TURN = 10.0  # degrees
_SHIFT = 0.1  # fraction of the side
_SCALE = 0.15
_SHEAR = 6.0  # degrees


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """An affine motion, from a clip's first frame to its last.

    Attributes:
        turn: Rotation in radians.
        shear: Shear in radians.
        shift: Translation (x, y) as fractions of the sides.
        scale: Logarithm of the scale factor.
    """

    turn: float
    shear: float
    shift: tuple[float, float]
    scale: float

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Motion:
        """Draws a small motion."""
        turn, shear, x, y, scale = generator.uniform(-1, 1, size=5)
        return cls(
            turn=math.radians(_TURN) * turn,
            shear=math.radians(_SHEAR) * shear,
            shift=(_SHIFT * x, _SHIFT * y),
            scale=math.log1p(_SCALE) * scale,
        )

    def at(self, time: float, *, height: int, width: int) -> Tensor:
        """Returns the map (2, 3) from a frame's coordinates in [-1, 1] to the image's, at `time` in [-0.5, 0.5]."""
        turn, shear, size = self.turn * time, math.tan(self.shear * time), math.exp(-self.scale * time)
        cosine, sine = math.cos(turn) * size, math.sin(turn) * size
        ratio = height / width  # a horizontal unit is not a vertical one
        return torch.tensor(
            [
                [cosine, (shear * cosine - sine) * ratio, 2 * self.shift[0] * time],
                [sine / ratio, shear * sine + cosine, 2 * self.shift[1] * time],
            ],
            dtype=torch.float32,
        )


def pseudo_clip(
    image: np.ndarray, mask: np.ndarray, *, frames: int, generator: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray]:
    """Moves an image a little from frame to frame; a single frame is the image itself.

    Args:
        image: RGB pixels, uint8 (H, W, 3). Beyond its border it is continued by its last pixels.
        mask: Mask of the object, bool (H, W).
        frames: Number of frames, T.
        generator: The only source of random draws.

    Returns:
        The T frames, each uint8 (H, W, 3), and their masks, bool (T, H, W).
    """
    if frames == 1:
        return [image], mask[None]
    height, width = mask.shape
    motion = Motion.draw(generator)
    times = [frame / (frames - 1) - 0.5 for frame in range(frames)]
    maps = torch.stack([motion.at(time, height=height, width=width) for time in times])
    grid = functional.affine_grid(maps, [frames, 1, height, width], align_corners=False)
    expanded = torch.from_numpy(mask.astype(np.float32))[None, None].expand(frames, -1, -1, -1)
    masks = (
        functional.grid_sample(expanded, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0] > 0.5
    )
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    images = []
    for frame in range(frames):  # one at a time: as floats, a clip is four times its bytes
        moved = functional.grid_sample(
            pixels, grid[frame : frame + 1], mode="bilinear", padding_mode="border", align_corners=False
        )
        images.append(moved[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy())
    return images, masks.numpy()
