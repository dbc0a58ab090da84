"""Pictures turned into clips: copies that a slow camera could have taken, for training on pictures and videos together.

A motion is drawn once and runs evenly over the clip, half before the picture and half after, so that what a phrase says
of places holds as nearly as it can.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

_TURN = 10.0  # degrees
_SHIFT = 0.1  # of the side
_SCALE = 0.15
_SHEAR = 6.0  # degrees


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """What changes from a clip's first frame to its last: a turn and a shear in radians, a shift (x, y) in shares of

    the sides, and the logarithm of a scale."""

    turn: float
    shear: float
    shift: tuple[float, float]
    scale: float

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Motion:
        """Draw a small one."""
        turn, shear, x, y, scale = generator.uniform(-1, 1, size=5)
        return cls(
            turn=math.radians(_TURN) * turn,
            shear=math.radians(_SHEAR) * shear,
            shift=(_SHIFT * x, _SHIFT * y),
            scale=math.log1p(_SCALE) * scale,
        )

    def at(self, time: float, *, height: int, width: int) -> Tensor:
        """Return the map (2, 3) from a frame's coordinates at `time` in [-0.5, 0.5] to the picture's, in [-1, 1]."""
        turn, shear, size = self.turn * time, math.tan(self.shear * time), math.exp(-self.scale * time)
        cosine, sine = math.cos(turn) * size, math.sin(turn) * size
        ratio = height / width  # one unit across is not one unit down
        return torch.tensor(
            [
                [cosine, (shear * cosine - sine) * ratio, 2 * self.shift[0] * time],
                [sine / ratio, shear * sine + cosine, 2 * self.shift[1] * time],
            ],
            dtype=torch.float32,
        )


def pseudo_clip(
    picture: np.ndarray, mask: np.ndarray, *, frames: int, generator: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return `frames` pictures uint8 (H, W, 3) and masks bool (T, H, W) of a picture that moves a little.

    A single frame is the picture itself. Beyond its border a picture goes on with its last pixels, a mask ends.
    """
    if frames == 1:
        return [picture], mask[None]
    height, width = mask.shape
    motion = Motion.draw(generator)
    times = [place / (frames - 1) - 0.5 for place in range(frames)]
    maps = torch.stack([motion.at(time, height=height, width=width) for time in times])
    grid = functional.affine_grid(maps, [frames, 1, height, width], align_corners=False)
    shown = torch.from_numpy(mask.astype(np.float32))[None, None].expand(frames, -1, -1, -1)
    masks = functional.grid_sample(shown, grid, mode="nearest", padding_mode="zeros", align_corners=False)[:, 0] > 0.5
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float()
    pictures = []
    for place in range(frames):  # a frame at a time: as floats, a clip is four times its bytes
        moved = functional.grid_sample(
            pixels, grid[place : place + 1], mode="bilinear", padding_mode="border", align_corners=False
        )
        pictures.append(moved[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().numpy())
    return pictures, masks.numpy()
