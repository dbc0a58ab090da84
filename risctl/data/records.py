"""Record → Sample: what a dataset is, before and after the store.

A dataset family (`data/datasets/`) reads a published format into a `Dataset` of plain records; the store keeps
them; the store's reader gives back `Sample`s. Boxes are `(x, y, width, height)` in pixels, as COCO has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from risctl.vision.rle import RLE


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One picture: exactly one of `path` (a file) and `data` (the encoded bytes) says where its pixels are."""

    image_id: int
    file_name: str
    height: int
    width: int
    path: Path | None = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One instance of a category in an image, its mask as RLE of the image's size."""

    annotation_id: int
    image_id: int
    category_id: int
    box: tuple[float, float, float, float]
    mask: RLE
    crowd: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """One sentence: `raw` as typed, `sent` as the publisher normalised it, its tokens.

    `abilities` names what it takes to understand it (only where the maker of the data knows: scenes).
    """

    sentence_id: int
    raw: str
    sent: str
    tokens: tuple[str, ...]
    abilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One referred target (a "ref"): the union of its annotations, none for a no-target ref, and its sentences."""

    ref_id: int
    image_id: int
    split: str
    annotation_ids: tuple[int, ...]
    expressions: tuple[Expression, ...]


@dataclass(slots=True, kw_only=True)
class Dataset:
    """A dataset as read from its published files.

    `notes` counts, by name, everything found odd on the way and what was done about it (for instance
    `"repeated sentence ids, renumbered": 4`).
    """

    name: str
    split_by: str
    categories: Mapping[int, str]
    images: Mapping[int, ImageRecord]
    annotations: Mapping[int, Annotation]
    records: list[Record]
    notes: dict[str, int] = field(default_factory=dict)

    def counts(self) -> dict[str, dict[str, int]]:
        """Return `{split: {"images", "refs", "sentences"}}`, splits in order of appearance."""
        images: dict[str, set[int]] = {}
        table: dict[str, dict[str, int]] = {}
        for record in self.records:
            row = table.setdefault(record.split, {"images": 0, "refs": 0, "sentences": 0})
            images.setdefault(record.split, set()).add(record.image_id)
            row["images"] = len(images[record.split])
            row["refs"] += 1
            row["sentences"] += len(record.expressions)
        return table


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleIds:
    """Where a sample comes from. All ids are the publisher's; category_id: of its first annotation, if it has any."""

    image_id: int
    ref_id: int
    sentence_id: int
    category_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One (image, sentence, mask), decoded: `image` uint8 (H, W, 3) RGB, `mask` bool (H, W), all-False if no target.

    An image that is not needed, because its features are known, is left out: (H, W, 0). instances: category id and mask
    bool (H, W) of everything annotated in the picture, where a system is trained on that. mirrored: whether left and
    right were exchanged.
    """

    image: np.ndarray
    text: str
    mask: np.ndarray
    ids: SampleIds
    category_ids: tuple[int, ...] = ()
    abilities: tuple[str, ...] = ()
    instances: tuple[tuple[int, np.ndarray], ...] = ()
    mirrored: bool = False
