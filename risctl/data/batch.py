"""Sample → Batch: what a system is given.

A `Preprocess` belongs to a system (it fixes input size, fill, words) and turns a `Sample`'s parts into tensors;
`collate` stacks them. Images, clips and precomputed features are the same thing at this level: `images` is
(B, 3, H, W) for images, (B, T, 3, H, W) for clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from risctl.data.records import SampleIds


class Geometry(Protocol):
    """How a picture lies in the network's input; `risctl.vision.letterbox.Letterbox` is one."""

    @property
    def height(self) -> int:
        """Rows of the original picture."""

    @property
    def width(self) -> int:
        """Columns of the original picture."""

    def padding(self) -> Tensor:
        """Return (h, w) bool of the input, True where there is no picture."""

    def invert(self, maps: Tensor) -> Tensor:
        """Return maps (N, h', w') of the input as maps (N, height, width) of the picture."""


class Preprocess(Protocol):
    """What a system does to a picture, a text and a mask before its forward. Loader workers own one: it must pickle."""

    def image(self, image: np.ndarray) -> tuple[Tensor, Geometry]:
        """Return the input (3, h, w), RGB in [0, 1], of a uint8 picture (H, W, 3), and how it lies in it."""

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
    """One sample as tensors; what `collate` stacks."""

    image: Tensor
    words: Tensor
    word_mask: Tensor
    target: Tensor | None
    geometry: Geometry
    text: str
    ids: SampleIds | None = None
    things: Things | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Tensors for a forward pass.

    images (B, 3, H, W) or (B, T, 3, H, W) float32; padding (B, H, W) bool, True where there is no picture; words (B, L)
    int64; word_mask (B, L) bool, True where a word is; targets (B, h, w) float32 in [0, 1], None at prediction;
    things: of each picture, None unless the system is trained on them.
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

    def __len__(self) -> int:
        return len(self.texts)

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on `device`."""
        moved = {
            one.name: getattr(self, one.name).to(device, non_blocking=True)
            for one in fields(self)
            if isinstance(getattr(self, one.name), Tensor)
        }
        things = None if self.things is None else tuple(one.to(device) for one in self.things)
        return replace(self, things=things, **moved)

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory (called by torch's loader)."""
        pinned = {
            one.name: getattr(self, one.name).pin_memory()
            for one in fields(self)
            if isinstance(getattr(self, one.name), Tensor)
        }
        things = None if self.things is None else tuple(one.pin_memory() for one in self.things)
        return replace(self, things=things, **pinned)


def collate(items: Sequence[Item]) -> Batch:
    """Stack items of one input size; images of several sizes are padded right and below to the largest."""
    height = max(item.image.shape[-2] for item in items)
    width = max(item.image.shape[-1] for item in items)
    length = max(item.words.shape[0] for item in items)
    images = items[0].image.new_zeros((len(items), *items[0].image.shape[:-2], height, width))
    padding = torch.ones((len(items), height, width), dtype=torch.bool)
    words = torch.zeros((len(items), length), dtype=torch.int64)
    word_mask = torch.zeros((len(items), length), dtype=torch.bool)
    for row, item in enumerate(items):
        own_height, own_width = item.image.shape[-2:]
        images[row, ..., :own_height, :own_width] = item.image
        padding[row, :own_height, :own_width] = item.geometry.padding()
        words[row, : item.words.shape[0]] = item.words
        word_mask[row, : item.words.shape[0]] = item.word_mask
    targets = [item.target for item in items if item.target is not None]
    things = [item.things for item in items if item.things is not None]
    return Batch(
        images=images,
        padding=padding,
        words=words,
        word_mask=word_mask,
        targets=_stack_targets(targets) if len(targets) == len(items) else None,
        geometries=tuple(item.geometry for item in items),
        texts=tuple(item.text for item in items),
        ids=tuple(item.ids for item in items),
        things=tuple(things) if len(things) == len(items) else None,
    )


def _stack_targets(targets: Sequence[Tensor]) -> Tensor:
    height = max(target.shape[-2] for target in targets)
    width = max(target.shape[-1] for target in targets)
    stacked = targets[0].new_zeros((len(targets), *targets[0].shape[:-2], height, width))
    for row, target in enumerate(targets):
        stacked[row, ..., : target.shape[-2], : target.shape[-1]] = target
    return stacked
