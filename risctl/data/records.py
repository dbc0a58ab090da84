"""Defines the records of a dataset, before it is stored, and the samples that a store returns.

A dataset family (`data/datasets/`) reads a published format into a `Dataset` of plain records, which the store keeps
and returns as `Sample`s. Boxes are `(x, y, width, height)` in pixels, as in COCO.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from risctl.vision.rle import RLE


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One image, with exactly one of `path` (its file) and `data` (its encoded bytes)."""

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
    """One sentence about a target.

    Attributes:
        sentence_id: The publisher's id.
        raw: The sentence as typed.
        sent: The sentence as the publisher normalised it.
        tokens: Its tokens.
        abilities: What it takes to understand it, known only of generated scenes.
    """

    sentence_id: int
    raw: str
    sent: str
    tokens: tuple[str, ...]
    abilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One referred target (a "ref"): its annotations, whose union is the mask, and its sentences; none if no-target."""

    ref_id: int
    image_id: int
    split: str
    annotation_ids: tuple[int, ...]
    expressions: tuple[Expression, ...]


@dataclass(slots=True, kw_only=True)
class Dataset:
    """A dataset as read from its published files.

    `notes` counts, by name, the irregularities that were repaired (for instance
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
        """Returns `{split: {"images", "refs", "sentences"}}`, splits in order of appearance."""
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
    """Where a sample comes from, by the publisher's ids.

    Attributes:
        image_id: The image.
        ref_id: The referred target.
        sentence_id: The sentence.
        category_id: The category of its first annotation, None without one.
    """

    image_id: int
    ref_id: int
    sentence_id: int
    category_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One decoded sample: an image, a sentence, and the mask of what it refers to.

    Attributes:
        image: RGB pixels, uint8 (H, W, 3); empty, (H, W, 0), where its features are cached.
        text: The sentence.
        mask: The mask, bool (H, W), all False for a no-target sentence.
        ids: Where the sample comes from.
        category_ids: Categories of the target's annotations.
        annotation_ids: The publisher's ids of the target's annotations.
        abilities: What it takes to understand the sentence, where known.
        instances: Category id and mask, bool (H, W), of every annotation of the image, where a system is trained on
            them.
        mirrored: Whether the sample was flipped horizontally.
        box: The box of the target's annotations, xyxy in pixels, where a system is trained on it.
    """

    image: np.ndarray
    text: str
    mask: np.ndarray
    ids: SampleIds
    category_ids: tuple[int, ...] = ()
    annotation_ids: tuple[int, ...] = ()
    abilities: tuple[str, ...] = ()
    instances: tuple[tuple[int, np.ndarray], ...] = ()
    mirrored: bool = False
    box: tuple[float, float, float, float] | None = None
