"""Defines mask proposals and the interface of their sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from risctl.vision.rle import RLE, decode

if TYPE_CHECKING:
    import torch

    from risctl.data.store.reader import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class InputImage:
    """The image that a source is asked for proposals of.

    Attributes:
        pixels: RGB, uint8 (H, W, 3).
        name: The file's name, by which files of proposals are found.
        image_id: The dataset's id, if it has one.
        row: The image's row in the store, if it comes from one.
    """

    pixels: np.ndarray
    name: str = ""
    image_id: int | None = None
    row: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposals:
    """The mask proposals of one image.

    Attributes:
        masks: Bool (N, H, W), best first where scores differ.
        scores: Float32 (N,) in [0, 1].
        categories: Int64 (N,), the dataset's category ids where a source knows them, 0 for unknown.
    """

    masks: np.ndarray
    scores: np.ndarray
    categories: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if len(self.categories) != len(self.masks):
            object.__setattr__(self, "categories", np.zeros(len(self.masks), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.masks)

    def subset(self, index: np.ndarray) -> Proposals:
        """Returns the proposals at `index` (positions, or a bool mask (N,)), in that order."""
        return Proposals(masks=self.masks[index], scores=self.scores[index], categories=self.categories[index])


class ProposalSource(Protocol):
    """Finds the mask proposals of an image."""

    @property
    def name(self) -> str:
        """How reports name it."""

    def __call__(self, image: InputImage) -> Proposals:
        """Returns the proposals of `image`; there may be none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """What a source is built with.

    Attributes:
        name: The name by which the source was chosen, a key of `sources.SOURCES`.
        location: The folder, file or hub id after the name (`NAME:LOCATION`); "" for the source's own default.
        device: Where a model computes.
        store: The store that is evaluated, None for an image of the user's.
        max_count: How many proposals an image may have.
    """

    name: str
    location: str
    device: torch.device
    store: Store | None = None
    max_count: int = 100


def no_proposals(image: InputImage) -> Proposals:
    """Returns an empty set of proposals of the size of `image`."""
    return Proposals(masks=np.zeros((0, *image.size), dtype=bool), scores=np.zeros(0, dtype=np.float32))


def from_rles(rles: Sequence[RLE], *, scores: np.ndarray, categories: np.ndarray, image: InputImage) -> Proposals:
    """Returns the proposals of N RLEs of the size of `image`, with `scores` (N,) and `categories` (N,)."""
    if not rles:
        return no_proposals(image)
    masks = np.stack([decode(rle) for rle in rles])
    return Proposals(masks=np.ascontiguousarray(masks), scores=scores.astype(np.float32), categories=categories)
