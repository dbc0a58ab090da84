"""Keeps the images that were sent last, decoded and encoded, by the digest of their bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(slots=True, kw_only=True)
class HeldImage:
    """An image that was sent.

    Attributes:
        digest: SHA-256 of its bytes as sent, in hexadecimal digits.
        pixels: RGB, uint8 (H, W, 3), as a viewer shows it.
        notes: What to know about how it was read.
        encoded: What each model made of it, by the model's key.
    """

    digest: str
    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    encoded: dict[str, Any] = field(default_factory=dict)


class HeldImages:
    """The images that were asked for last; from any thread."""

    def __init__(self, *, count: int, pixel_bytes: int) -> None:
        """Takes bounds.

        Args:
            count: How many are kept.
            pixel_bytes: Bytes of their pixels in all; the one that was asked for last stays in any case.
        """
        self._count, self._bytes = count, pixel_bytes
        self._held: OrderedDict[str, HeldImage] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._held)

    def get(self, digest: str) -> HeldImage | None:
        """Returns an image that is still kept, which then counts as asked for last."""
        with self._lock:
            found = self._held.get(digest)
            if found is not None:
                self._held.move_to_end(digest)
            return found

    def put(self, image: HeldImage) -> None:
        """Keeps an image, and lets go of those that were not asked for the longest."""
        with self._lock:
            self._held[image.digest] = image
            self._held.move_to_end(image.digest)
            while len(self._held) > 1 and (len(self._held) > self._count or self._total() > self._bytes):
                self._held.popitem(last=False)

    def _total(self) -> int:
        return sum(one.pixels.nbytes for one in self._held.values())
