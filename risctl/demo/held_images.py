"""Keeps the images that were sent last, decoded and encoded, by the digest of their bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
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

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels and of what the models made of it."""
        return self.pixels.nbytes + bytes_of(self.encoded)


def bytes_of(value: object) -> int:
    """Returns the bytes of all arrays and tensors in a value: in its mappings, sequences and dataclasses."""
    nbytes = getattr(value, "nbytes", None)
    if isinstance(nbytes, int):
        return nbytes
    if isinstance(value, Mapping):
        return sum(map(bytes_of, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(bytes_of, value))
    if is_dataclass(value) and not isinstance(value, type):
        return sum(bytes_of(getattr(value, one.name)) for one in fields(value))
    return 0


class HeldImages:
    """The images that were asked for last; from any thread."""

    def __init__(self, *, count: int, most_bytes: int) -> None:
        """Takes bounds.

        Args:
            count: How many are kept.
            most_bytes: Bytes of their pixels and features in all; the one that was asked for last stays in any case.
        """
        self._count, self._bytes = count, most_bytes
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
        """Keeps an image, and lets go of those that were not asked for the longest; again once it was encoded."""
        with self._lock:
            self._held[image.digest] = image
            self._held.move_to_end(image.digest)
            while len(self._held) > 1 and (len(self._held) > self._count or self._total() > self._bytes):
                self._held.popitem(last=False)

    def _total(self) -> int:
        return sum(one.nbytes for one in self._held.values())
