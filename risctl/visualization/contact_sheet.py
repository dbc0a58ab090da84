"""Defines the contact sheet: a drawn page with the data of what it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactSheet:
    """A contact sheet.

    Attributes:
        pixels: Uint8 RGB (H, W, 3).
        entries: What it shows, in order, as JSON values.
    """

    pixels: np.ndarray
    entries: list[dict[str, Any]]


def random_samples(keys: Sequence[int], *, count: int, seed: int) -> list[int]:
    """Returns `count` of `keys` that are chosen by `seed`, in ascending order."""
    return sorted(np.random.default_rng(seed).permutation(np.asarray(keys, dtype=np.int64))[:count].tolist())
