"""Builds outlines: a shape is a stack of filled polygons in units of its own height, y downwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Part:
    """A filled polygon: `points` (N, 2) float64 x, y in [0, 1] of the shape's height, and its tone in the palette."""

    points: np.ndarray
    tone: str = "main"


def polygon(*points: tuple[float, float], tone: str = "main") -> Part:
    """Returns the polygon through `points`."""
    return Part(np.array(points, dtype=np.float64), tone)


def rectangle(left: float, top: float, right: float, bottom: float, tone: str = "main") -> Part:
    """Returns an upright rectangle."""
    return polygon((left, top), (right, top), (right, bottom), (left, bottom), tone=tone)


def _arc(
    x: float, y: float, across: float, down: float, start: float = 0, stop: float = 360, steps: int = 28
) -> np.ndarray:
    angles = np.radians(np.linspace(start, stop, steps))
    return np.stack([x + across * np.cos(angles), y + down * np.sin(angles)], axis=1)


def ellipse(
    x: float, y: float, across: float, down: float, tone: str = "main", *, start: float = 0, stop: float = 360
) -> Part:
    """Returns an ellipse about (x, y), or its sector between two angles in degrees (0 is right, 90 is down)."""
    return Part(_arc(x, y, across, down, start, stop), tone)


def rounded(left: float, top: float, right: float, bottom: float, radius: float, tone: str = "main") -> Part:
    """Returns an upright rectangle with round corners."""
    corners = [
        _arc(right - radius, bottom - radius, radius, radius, 0, 90, 6),
        _arc(left + radius, bottom - radius, radius, radius, 90, 180, 6),
        _arc(left + radius, top + radius, radius, radius, 180, 270, 6),
        _arc(right - radius, top + radius, radius, radius, 270, 360, 6),
    ]
    return Part(np.concatenate(corners), tone)


def band(points: Sequence[tuple[float, float]] | np.ndarray, width: float, tone: str = "main") -> Part:
    """Returns a stroke of `width` along `points`."""
    line = np.asarray(points, dtype=np.float64)
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    normal = np.stack([-along[:, 1], along[:, 0]], axis=1) * (width / 2)
    return Part(np.concatenate([line + normal, (line - normal)[::-1]]), tone)


def bow(
    x: float, y: float, across: float, down: float, start: float, stop: float, *, width: float, tone: str = "main"
) -> Part:
    """Returns a stroke of `width` along an elliptic arc."""
    return band(_arc(x, y, across, down, start, stop, 16), width, tone)


def spikes(x: float, y: float, outer: float, inner: float, count: int, tone: str = "main") -> Part:
    """Returns a star of `count` points, the first of them up."""
    angles = np.radians(np.arange(2 * count) * 180 / count - 90)
    radius = np.where(np.arange(2 * count) % 2 == 0, outer, inner)
    return Part(np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1), tone)
