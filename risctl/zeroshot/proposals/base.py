"""Mask proposals: one interface, whatever finds them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from risctl.vision.rle import RLE, decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What a source is asked about.

    pixels: uint8 (H, W, 3) RGB; name: the file's name, by which files of proposals are found; image_id: the dataset's,
    if it has one; row: the image's row in the store, if it comes from one.
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
    """The proposals of a picture: masks bool (N, H, W), scores (N,) float32 in [0, 1], best first where they differ.

    categories (N,): the dataset's category ids where a source knows them, 0 for unknown.
    """

    masks: np.ndarray
    scores: np.ndarray
    categories: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def __post_init__(self) -> None:
        if len(self.categories) != len(self.masks):
            object.__setattr__(self, "categories", np.zeros(len(self.masks), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.masks)

    def subset(self, chosen: np.ndarray) -> Proposals:
        """Return the proposals at positions (or where True) `chosen`, in that order."""
        return Proposals(masks=self.masks[chosen], scores=self.scores[chosen], categories=self.categories[chosen])


class ProposalSource(Protocol):
    """Finds the proposals of pictures."""

    @property
    def name(self) -> str:
        """What reports call it."""

    def __call__(self, picture: Picture) -> Proposals:
        """Return the proposals of a picture; none is an answer too."""


def none_for(picture: Picture) -> Proposals:
    """Return no proposals."""
    return Proposals(masks=np.zeros((0, *picture.size), dtype=bool), scores=np.zeros(0, dtype=np.float32))


def from_rles(rles: list[RLE], *, scores: np.ndarray, categories: np.ndarray, picture: Picture) -> Proposals:
    """Return proposals of RLEs of the picture's size."""
    if not rles:
        return none_for(picture)
    masks = np.stack([decode(one) for one in rles])
    return Proposals(masks=np.ascontiguousarray(masks), scores=scores.astype(np.float32), categories=categories)
