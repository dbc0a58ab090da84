"""Chooses how many images are encoded together, by the memory of the device."""

from __future__ import annotations

import sys
from typing import Any

AUTO = "auto"
LARGEST = 64
"""Images of a batch at most: beyond it, a batch is no faster."""
_SHARE = 0.7  # of the free memory that a batch may take: answers need some, too


class BatchSize:
    """The number of images that are encoded together.

    A number that was given stays, unless the memory does not suffice for it. `auto` begins with one image and takes
    twice as many as long as the memory of the GPU allows; on a CPU, where a batch is no faster than its images one by
    one, it stays at one.

    Attributes:
        current: The number.
    """

    def __init__(self, size: int | str) -> None:
        """Begins with `size` images, or with one for `auto`."""
        self._grows = size == AUTO
        self.current = 1 if self._grows else int(size)

    def lower(self) -> None:
        """Halves the number: the memory does not suffice."""
        self._grows = False
        self.current = max(1, self.current // 2)

    def observe(self, count: int) -> None:
        """Learns that `count` images were encoded together, and grows if twice as many fit."""
        if not self._grows or count < self.current:
            return
        cuda = _cuda()
        if cuda is None or self.current >= LARGEST:
            self._grows = False
            return
        used = cuda.max_memory_allocated() - cuda.memory_allocated()
        free = cuda.mem_get_info()[0] + cuda.memory_reserved() - cuda.memory_allocated()
        if 2 * used > _SHARE * free:
            self._grows = False
            return
        self.current *= 2
        cuda.reset_peak_memory_stats()


def is_out_of_memory(error: BaseException) -> bool:
    """Returns whether numpy, Pillow or torch ran out of memory; torch's own class has no fixed place."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text


def _cuda() -> Any:
    """Returns torch.cuda if this process computes on a GPU, else None; torch is not imported for that."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return torch.cuda
