"""Samples the frames of a training clip around one of them, as the published code of ReferFormer does."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

_NEAR = 3  # distance to which the two nearest frames are drawn
_LOCAL = 3  # frames of a clip that are the centre or near it


def frames_around(numbers: Sequence[int], *, centre: int, length: int, generator: np.random.Generator) -> list[int]:
    """Samples a frame, one at distance 1 to 3 on either side of it, and others from before and after these.

    At the ends of the video the frame at the end stands for one beyond it, and the last of the three may come again
    among the others. Where there are too few others, they are drawn from all frames, which then repeat.

    Args:
        numbers: The numbers of the frames that there are, sorted; some of a video may be missing.
        centre: One of them.
        length: Frames to sample.
        generator: The only source of random draws.

    Returns:
        `length` of the numbers, sorted; `centre` is one of them.
    """
    if length == 1:
        return [centre]
    before, after = (int(generator.integers(1, _NEAR + 1)) for _ in range(2))
    first = numbers[bisect_left(numbers, centre - before)]
    last = numbers[bisect_right(numbers, centre + after) - 1]
    chosen = [centre, first, last]
    missing = length - _LOCAL
    if missing > 0:
        others = [*numbers[: bisect_left(numbers, first)], *numbers[bisect_left(numbers, last) :]]
        pool = others if len(others) > missing else list(numbers)
        while missing >= len(pool):
            chosen += pool
            missing -= len(pool)
        chosen += [int(number) for number in generator.choice(pool, size=missing, replace=False)]
    return sorted(chosen)[:length]


def frames_of_window(numbers: Sequence[int], *, centre: int, length: int) -> list[int]:
    """Returns `length` consecutive frames with `centre` in their middle, the one of the later two if there are two.

    Args:
        numbers: The numbers of the frames that there are, sorted.
        centre: One of them.
        length: Frames to return. In place of one that is missing stands the next one towards the centre.
    """
    frames = []
    for number in range(centre - length // 2, centre + (length + 1) // 2):
        place = bisect_left(numbers, number) if number <= centre else bisect_right(numbers, number) - 1
        frames.append(numbers[place])
    return frames
