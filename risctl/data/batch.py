"""Defines what a system is given: single preprocessed items and the batches that they are collated into.

A `Preprocess` belongs to a system, whose input size, padding and vocabulary it knows. Images and clips share these
types: `images` is (B, 3, H, W) for images and (B, T, 3, H, W) for clips. Features of frozen layers that were computed
before stand in `cached_visual` and `cached_text`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from risctl.data.box_grounding.boxes import BoxTargets
from risctl.data.records import SampleIds
from risctl.vision.geometry import Geometry

G = TypeVar("G", bound=Geometry)


def checked_geometry(geometry: Geometry, kind: type[G]) -> G:
    """Returns `geometry` as the class that a preprocess makes. Raises `TypeError` if it is of another class."""
    if not isinstance(geometry, kind):
        raise TypeError(f"expected the {kind.__name__} that image() returned; got {type(geometry).__name__}")
    return geometry


class Preprocess(Protocol):
    """Turns an image, an expression and a mask into a system's inputs. It must pickle: each loader worker has one."""

    def image(self, image: np.ndarray) -> tuple[Tensor, Geometry]:
        """Returns the input (3, h, w), RGB in [0, 1], of an image, uint8 (H, W, 3), and its geometry."""

    def fit(self, *, height: int, width: int) -> Geometry:
        """Returns the geometry that `image` gives an image of this size in pixels."""

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Returns word ids, int64 (L,), and their mask, bool (L,). Raises `UsageError` if the text has no word."""

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Returns the target, float32 (h', w') in [0, 1], of a mask, bool (H, W)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceTargets:
    """All annotated instances of an image.

    Attributes:
        categories: Category ids of the dataset, int64 (N,).
        masks: Masks in the input's frame, bool (N, h, w).
        boxes_only: Whether the masks are only the instances' boxes.
    """

    categories: Tensor
    masks: Tensor
    boxes_only: bool = False

    def to(self, device: torch.device | str) -> InstanceTargets:
        """Returns the targets on `device`."""
        return replace(
            self,
            categories=self.categories.to(device, non_blocking=True),
            masks=self.masks.to(device, non_blocking=True),
        )

    def pin_memory(self) -> InstanceTargets:
        """Returns the targets in page-locked memory."""
        return replace(self, categories=self.categories.pin_memory(), masks=self.masks.pin_memory())


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One preprocessed sample.

    Attributes:
        image: The input, (3, h, w) or (T, 3, h, w) of a clip, float32 in [0, 1] or uint8; empty, (3, 0, 0), where
            `cached_visual` is set.
        words: Word ids, int64 (L,).
        word_mask: True where a word is, bool (L,).
        target: The target, float32 in [0, 1] or bool, (h', w') or (T, h', w') of a clip; None at prediction.
        geometry: How the image lies in the input.
        text: The expression.
        boxes: The box of the object as fractions of the image, float32 (4,), or (T, 4) of a clip: centre, width and
            height, zeros where it is not seen; None: that of the target.
        annotated: The frame of a clip that `target` (1, h', w') and `boxes` (1, 4) are of; None: all are annotated.
        ids: Where the sample comes from.
        instances: All annotated instances of the image, for systems that are trained on them.
        cached_visual: Features of the visual encoder's frozen layers, None if they are to be computed.
        cached_text: Features of the text encoder's frozen layers, None if they are to be computed.
        image_key: What items of one image share that were drawn alike; a batch has that image once. None: shares none.
    """

    image: Tensor
    words: Tensor
    word_mask: Tensor
    target: Tensor | None
    geometry: Geometry
    text: str
    boxes: Tensor | None = None
    annotated: int | None = None
    ids: SampleIds | None = None
    instances: InstanceTargets | None = None
    cached_visual: tuple[Tensor, ...] | None = None
    cached_text: tuple[Tensor, ...] | None = None
    image_key: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedImage:
    """An image that could not be read, whose sample another one stands for.

    Attributes:
        image: Which image: its id, its file's name and its store.
        problem: Why it could not be read.
    """

    image: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The inputs and targets of one forward pass over B expressions about I images; I is B without `image_rows`.

    Attributes:
        images: Inputs, float32 in [0, 1], (I, 3, H, W) or (I, T, 3, H, W), or uint8 until `to` moves them;
            empty, (I, 3, 0, 0), where `cached_visual` or `box_targets` is set.
        padding: True where there is no image, bool (I, H, W).
        words: Word ids, int64 (B, L).
        word_mask: True where a word is, bool (B, L).
        targets: Targets, float32 (B, h, w) or (B, T, h, w) in [0, 1], or bool until `to` moves them; None at
            prediction.
        geometries: How the image of each expression lies in its input.
        texts: The expressions.
        ids: Where each sample comes from.
        boxes: Boxes of the objects, float32 (B, 4) or (B, T, 4), as those of `Item`; None: those of the targets.
        annotated: The frame of each clip that its target is of, int64 (B,); None: all frames are annotated.
        instances: All annotated instances of each image; None unless the system is trained on them.
        box_targets: Annotated boxes in place of images and masks, None otherwise.
        cached_visual: Features of the visual encoder's frozen layers, each (I, ...) of any precision; None if they are
            to be computed.
        cached_text: Features of the text encoder's frozen layers, likewise.
        skipped: The images that could not be read, in whose place other samples are.
        image_rows: The image of each expression, int64 (B,), where several share one; None: each has its own.
    """

    images: Tensor
    padding: Tensor
    words: Tensor
    word_mask: Tensor
    targets: Tensor | None
    geometries: tuple[Geometry, ...]
    texts: tuple[str, ...]
    ids: tuple[SampleIds | None, ...]
    boxes: Tensor | None = None
    annotated: Tensor | None = None
    instances: tuple[InstanceTargets, ...] | None = None
    box_targets: BoxTargets | None = None
    cached_visual: tuple[Tensor, ...] | None = None
    cached_text: tuple[Tensor, ...] | None = None
    skipped: tuple[SkippedImage, ...] = ()
    image_rows: Tensor | None = None

    @property
    def row_padding(self) -> Tensor:
        """The padding of each expression's image, bool (B, H, W)."""
        return self.padding if self.image_rows is None else self.padding[self.image_rows]

    def __len__(self) -> int:
        return len(self.texts)

    def to(self, device: torch.device | str) -> Batch:
        """Returns the batch with its tensors on `device`, images and targets as floats.

        Until then they may be bytes, a quarter of the size to pad, to hand over between processes and to move.
        """
        moved = self._map(lambda tensor: tensor.to(device, non_blocking=True), lambda targets: targets.to(device))
        images, targets = moved.images, moved.targets
        if images.dtype == torch.uint8:
            images = images.float().div_(255)
        return replace(moved, images=images, targets=None if targets is None else targets.float())

    def pin_memory(self) -> Batch:
        """Returns the batch in page-locked memory; torch's loader calls it."""
        return self._map(Tensor.pin_memory, lambda targets: targets.pin_memory())

    def _map(self, of_tensor: Callable[[Tensor], Tensor], of_targets: Callable[[Any], Any]) -> Batch:
        """Returns the batch with functions applied to its tensors, and to its instances and boxes."""

        def mapped(value: Any) -> Any:
            if isinstance(value, Tensor):
                return of_tensor(value)
            if isinstance(value, InstanceTargets | BoxTargets):
                return of_targets(value)
            return value

        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "geometries"}
        changed: dict[str, Any] = {
            name: tuple(mapped(one) for one in value) if isinstance(value, tuple) else mapped(value)
            for name, value in values.items()
        }
        return replace(self, **changed)


def collate(items: Sequence[Item]) -> Batch:
    """Stacks items into a batch; images of several sizes are padded right and below to the largest.

    Items with one `image_key` share the image of the first of them.
    """
    longest = max(item.words.shape[0] for item in items)
    words = torch.zeros((len(items), longest), dtype=torch.int64)
    word_mask = torch.zeros((len(items), longest), dtype=torch.bool)
    for row, item in enumerate(items):
        words[row, : item.words.shape[0]] = item.words
        word_mask[row, : item.words.shape[0]] = item.word_mask
    targets = [item.target for item in items if item.target is not None]
    instances = [item.instances for item in items if item.instances is not None]
    boxes = [item.boxes for item in items if item.boxes is not None]
    annotated = [item.annotated for item in items if item.annotated is not None]
    rows: dict[tuple[int, ...], int] = {}
    image_rows = [rows.setdefault(item.image_key or (-1, row), len(rows)) for row, item in enumerate(items)]
    distinct = [items[image_rows.index(row)] for row in range(len(rows))]
    return Batch(
        images=_stack([item.image for item in distinct]),
        padding=_stack([item.geometry.padding() for item in distinct], fill=True),
        words=words,
        word_mask=word_mask,
        targets=_stack(targets) if len(targets) == len(items) else None,
        geometries=tuple(item.geometry for item in items),
        texts=tuple(item.text for item in items),
        ids=tuple(item.ids for item in items),
        boxes=torch.stack(boxes) if len(boxes) == len(items) else None,
        annotated=torch.tensor(annotated) if len(annotated) == len(items) else None,
        instances=tuple(instances) if len(instances) == len(items) else None,
        cached_visual=_stack_features([item.cached_visual for item in distinct]),
        cached_text=_stack_features([item.cached_text for item in items]),
        image_rows=torch.tensor(image_rows) if len(rows) < len(items) else None,
    )


def _stack(tensors: Sequence[Tensor], *, fill: bool = False) -> Tensor:
    """Stacks tensors of one number of dimensions, smaller ones padded at each dimension's end."""
    shapes = [tensor.shape for tensor in tensors]
    if all(shape == shapes[0] for shape in shapes):
        return torch.stack(list(tensors))
    if len({tensor.dtype for tensor in tensors}) > 1:
        tensors = [_as_float(tensor) for tensor in tensors]
    largest = [max(sides) for sides in zip(*shapes, strict=True)]
    stacked = tensors[0].new_full((len(tensors), *largest), fill)
    for row, tensor in enumerate(tensors):
        stacked[row][tuple(slice(side) for side in tensor.shape)] = tensor
    return stacked


def _as_float(tensor: Tensor) -> Tensor:
    return tensor / 255 if tensor.dtype == torch.uint8 else tensor.float()


def _stack_features(features: Sequence[tuple[Tensor, ...] | None]) -> tuple[Tensor, ...] | None:
    known = [feature for feature in features if feature is not None]
    if len(known) != len(features) or not known:
        return None
    return tuple(_stack(level) for level in zip(*known, strict=True))
