"""Sample → Batch: what a system is given.

A `Preprocess` belongs to a system (it fixes input size, fill, words) and turns a `Sample`'s parts into tensors;
`collate` stacks them. Images, clips and precomputed features are the same thing at this level: `images` is
(B, 3, H, W) for images, (B, T, 3, H, W) for clips; `seen` is what an encoder's frozen part made of them before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from risctl.data.boxes import BoxTargets
from risctl.data.records import SampleIds
from risctl.vision.geometry import Geometry

_Kind = TypeVar("_Kind", bound=Geometry)


def own_geometry(geometry: Geometry, kind: type[_Kind]) -> _Kind:
    """Return `geometry`, which is of `kind` if it is what the preprocess itself gave. Raises `TypeError` if not."""
    if not isinstance(geometry, kind):
        raise TypeError(f"expected the {kind.__name__} that image() gave; got {type(geometry).__name__}")
    return geometry


class Preprocess(Protocol):
    """What a system does to a picture, a text and a mask before its forward. Loader workers own one: it must pickle."""

    def image(self, image: np.ndarray) -> tuple[Tensor, Geometry]:
        """Return the input (3, h, w), RGB in [0, 1], of a uint8 picture (H, W, 3), and how it lies in it."""

    def fit(self, *, height: int, width: int) -> Geometry:
        """Return how `image` would lay a picture of this size."""

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Return word ids (L,) int64 and their mask (L,) bool. Raises `UsageError` if the text has no word."""

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Return the target (h', w') float32 of a bool mask (H, W)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Things:
    """Everything annotated in a picture.

    categories (N,) int64: ids of the dataset; masks (N, h, w) bool, as targets are.
    """

    categories: Tensor
    masks: Tensor

    def to(self, device: torch.device | str) -> Things:
        """Return them on `device`."""
        return Things(
            categories=self.categories.to(device, non_blocking=True), masks=self.masks.to(device, non_blocking=True)
        )

    def pin_memory(self) -> Things:
        """Return them in page-locked memory."""
        return Things(categories=self.categories.pin_memory(), masks=self.masks.pin_memory())


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One sample as tensors; what `collate` stacks.

    seen, read: what the frozen parts of the encoders made of picture and text before, None if they are to be run; with
    `seen`, the image is empty, (3, 0, 0).
    """

    image: Tensor
    words: Tensor
    word_mask: Tensor
    target: Tensor | None
    geometry: Geometry
    text: str
    ids: SampleIds | None = None
    things: Things | None = None
    seen: tuple[Tensor, ...] | None = None
    read: tuple[Tensor, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tensors for a forward pass.

    images (B, 3, H, W) or (B, T, 3, H, W) float32; padding (B, H, W) bool, True where there is no picture; words (B, L)
    int64; word_mask (B, L) bool, True where a word is; targets (B, h, w) float32 in [0, 1], None at prediction;
    things: of each picture, None unless the system is trained on them. asked: known boxes in the place of pictures,
    whose images are then empty, (B, 3, 0, 0); None otherwise.

    seen, read: what the frozen parts of the encoders made of pictures and texts before, tensors (B, ...) of any
    precision; None if they are to be run. With `seen`, images are empty, too.
    """

    images: Tensor
    padding: Tensor
    words: Tensor
    word_mask: Tensor
    targets: Tensor | None
    geometries: tuple[Geometry, ...]
    texts: tuple[str, ...]
    ids: tuple[SampleIds | None, ...]
    things: tuple[Things, ...] | None = None
    asked: BoxTargets | None = None
    seen: tuple[Tensor, ...] | None = None
    read: tuple[Tensor, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on `device`."""
        moved = self._each(lambda tensor: tensor.to(device, non_blocking=True))
        things = None if self.things is None else tuple(one.to(device) for one in self.things)
        asked = None if self.asked is None else self.asked.to(device)
        return replace(self, things=things, asked=asked, **moved)

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory (called by torch's loader)."""
        pinned = self._each(Tensor.pin_memory)
        things = None if self.things is None else tuple(one.pin_memory() for one in self.things)
        asked = None if self.asked is None else self.asked.pin_memory()
        return replace(self, things=things, asked=asked, **pinned)

    def _each(self, change: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """Return the fields that are tensors, or tuples of them, changed."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        parts = {name: own[name] for name in ("seen", "read") if own[name] is not None}
        return {name: change(value) for name, value in own.items() if isinstance(value, Tensor)} | {
            name: tuple(change(one) for one in value) for name, value in parts.items()
        }


def collate(items: Sequence[Item]) -> Batch:
    """Stack items of one input size; images of several sizes are padded right and below to the largest."""
    hidden = [item.geometry.padding() for item in items]
    padding = _stacked(hidden, fill=True)
    length = max(item.words.shape[0] for item in items)
    words = torch.zeros((len(items), length), dtype=torch.int64)
    word_mask = torch.zeros((len(items), length), dtype=torch.bool)
    for row, item in enumerate(items):
        words[row, : item.words.shape[0]] = item.words
        word_mask[row, : item.words.shape[0]] = item.word_mask
    targets = [item.target for item in items if item.target is not None]
    things = [item.things for item in items if item.things is not None]
    return Batch(
        images=_stacked([item.image for item in items]),
        padding=padding,
        words=words,
        word_mask=word_mask,
        targets=_stacked(targets) if len(targets) == len(items) else None,
        geometries=tuple(item.geometry for item in items),
        texts=tuple(item.text for item in items),
        ids=tuple(item.ids for item in items),
        things=tuple(things) if len(things) == len(items) else None,
        seen=_stacked_parts([item.seen for item in items]),
        read=_stacked_parts([item.read for item in items]),
    )


def _stacked(tensors: Sequence[Tensor], *, fill: bool = False) -> Tensor:
    """Return tensors of one number of dimensions as one, the smaller ones filled up at each dimension's end."""
    shapes = [one.shape for one in tensors]
    if all(shape == shapes[0] for shape in shapes):
        return torch.stack(list(tensors))
    largest = [max(sides) for sides in zip(*shapes, strict=True)]
    stacked = tensors[0].new_full((len(tensors), *largest), fill)
    for row, tensor in enumerate(tensors):
        stacked[row][tuple(slice(side) for side in tensor.shape)] = tensor
    return stacked


def _stacked_parts(parts: Sequence[tuple[Tensor, ...] | None]) -> tuple[Tensor, ...] | None:
    known = [one for one in parts if one is not None]
    if len(known) != len(parts) or not known:
        return None
    return tuple(_stacked(column) for column in zip(*known, strict=True))
