"""Defines how an image lies in a network's input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Geometry(Protocol):
    """How an image lies in the network's input; `risctl.vision.resize.Letterbox` is one."""

    @property
    def height(self) -> int:
        """Rows of the original image."""

    @property
    def width(self) -> int:
        """Columns of the original image."""

    def padding(self) -> Tensor:
        """Returns (h, w) bool of the input, True where there is no image."""

    def invert(self, maps: Tensor) -> Tensor:
        """Returns maps (N, h', w') of the input as maps (N, height, width) of the image."""
