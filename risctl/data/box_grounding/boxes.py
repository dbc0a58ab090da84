"""Batches the boxes of images as tensors, detected or annotated, with those that expressions refer to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """The boxes of B images, padded to N boxes per image.

    Attributes:
        corners: Corners xyxy as fractions of the image's sides, (B, N, 4).
        classes: Class scores in [0, 1], (B, N, K); one-hot where the class is known, zeros where it is unknown.
        mask: True where a box is, False where there is padding, bool (B, N).
        aspect: Width / height of each image, (B,).
        confidence: Probability that a box holds an object at all, (B, N) in [0, 1]; None: all are certain.
        appearance: Appearance features, (B, N, A), or None.
        has_appearance: False where a box has no appearance, bool (B, N); None: all have one.
    """

    corners: Tensor
    classes: Tensor
    mask: Tensor
    aspect: Tensor
    confidence: Tensor | None = None
    appearance: Tensor | None = None
    has_appearance: Tensor | None = None

    def select(self, index: Tensor) -> Boxes:
        """Returns the boxes of the images `index`, (M,)."""
        return self._map(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Boxes:
        """Returns the boxes on `device`."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Boxes:
        """Returns the boxes in page-locked memory."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Boxes:
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: function(tensor) for name, tensor in tensors.items() if tensor is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxTargets:
    """Boxes and which of them an expression refers to, in place of an image and its mask.

    Attributes:
        boxes: The boxes that are chosen among.
        is_target: 1 where a box is referred to, float (B, N).
        category_ids: Class index of each box, int64 (B, N), -1 where it is unknown.
    """

    boxes: Boxes
    is_target: Tensor
    category_ids: Tensor

    def to(self, device: torch.device | str) -> BoxTargets:
        """Returns the targets on `device`."""
        return BoxTargets(
            boxes=self.boxes.to(device),
            is_target=self.is_target.to(device),
            category_ids=self.category_ids.to(device),
        )

    def pin_memory(self) -> BoxTargets:
        """Returns the targets in page-locked memory."""
        return BoxTargets(
            boxes=self.boxes.pin_memory(),
            is_target=self.is_target.pin_memory(),
            category_ids=self.category_ids.pin_memory(),
        )
