"""The boxes of pictures as tensors: what a choice among things is made from, found by a detector or known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """The found boxes of B pictures, N at most.

    corners (B, N, 4): xyxy in [0, 1] of the picture; classes (B, N, K): class scores in [0, 1] (one-hot where known,
    zeros where the class is unknown); mask (B, N) bool, True where a box is; aspect (B,): width / height of the
    picture; certainty (B, N) in [0, 1], how likely a box is a thing at all, None: all are; appearance (B, N, A) or
    None; seen (B, N) bool, False where a box has no appearance, None: all are seen.
    """

    corners: Tensor
    classes: Tensor
    mask: Tensor
    aspect: Tensor
    certainty: Tensor | None = None
    appearance: Tensor | None = None
    seen: Tensor | None = None

    def select(self, index: Tensor) -> Boxes:
        """Return the boxes of the pictures `index` (M,)."""
        return self._each(lambda part: part[index])

    def to(self, device: torch.device | str) -> Boxes:
        """Return the boxes on `device`."""
        return self._each(lambda part: part.to(device, non_blocking=True))

    def pin_memory(self) -> Boxes:
        """Return the boxes in page-locked memory."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Boxes:
        parts = {one.name: getattr(self, one.name) for one in fields(self)}
        return replace(self, **{name: change(part) for name, part in parts.items() if part is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxTargets:
    """Known boxes and which of them a text means, in the place of a picture and its mask.

    meant (B, N) float, 1 where a box is meant; kinds (B, N) int64, the class of each box, -1 where it is unknown.
    """

    boxes: Boxes
    meant: Tensor
    kinds: Tensor

    def to(self, device: torch.device | str) -> BoxTargets:
        """Return them on `device`."""
        return BoxTargets(boxes=self.boxes.to(device), meant=self.meant.to(device), kinds=self.kinds.to(device))

    def pin_memory(self) -> BoxTargets:
        """Return them in page-locked memory."""
        return BoxTargets(boxes=self.boxes.pin_memory(), meant=self.meant.pin_memory(), kinds=self.kinds.pin_memory())
