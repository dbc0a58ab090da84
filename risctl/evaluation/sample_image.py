"""Defines what a sample of a report is drawn on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleImage:
    """The image of a sample and its target.

    Attributes:
        pixels: RGB, uint8 (H, W, 3).
        target: Bool (H, W).
        note: A note that stands beside the image.
    """

    pixels: np.ndarray
    target: np.ndarray
    note: str = ""
