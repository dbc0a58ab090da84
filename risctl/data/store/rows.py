"""Defines one row of each of a store's tables. "Row" is a position, "id" the publisher's number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from risctl.errors import UsageError, unknown_name
from risctl.vision.rle import RLE

TextField = Literal["sent", "raw", "raw_lower"]
TEXT_FIELDS = ("sent", "raw", "raw_lower")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """One image.

    Attributes:
        row: Its row.
        image_id: The publisher's id.
        file_name: The publisher's file name.
        height: Height in pixels.
        width: Width in pixels.
    """

    row: int
    image_id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationRow:
    """One annotated instance.

    Attributes:
        row: Its row.
        annotation_id: The publisher's id.
        image: Row of its image.
        category_id: The publisher's id of its category.
        box: (x, y, width, height) in pixels.
        crowd: Whether it is a crowd of instances.
        mask: The mask as COCO RLE.
    """

    row: int
    annotation_id: int
    image: int
    category_id: int
    box: tuple[float, float, float, float]
    crowd: bool
    mask: RLE


@dataclass(frozen=True, slots=True, kw_only=True)
class RefRow:
    """One referred target.

    Attributes:
        row: Its row.
        ref_id: The publisher's id.
        image: Row of its image.
        image_id: The publisher's id of its image.
        split: Name of its split.
        annotations: Rows of its annotations; none: no target.
        category_ids: The categories of these annotations.
        sentences: Rows of its sentences, int64 (N,).
    """

    row: int
    ref_id: int
    image: int
    image_id: int
    split: str
    annotations: tuple[int, ...]
    category_ids: tuple[int, ...]
    sentences: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceRow:
    """One sentence.

    Attributes:
        row: Its row.
        ref: Row of the ref that it is of.
        image: Row of the image that it is about.
        sentence_id: The publisher's id.
        raw: The text as typed.
        sent: The text as the publisher normalized it.
        tokens: Its words as the publisher split them.
        abilities: What it takes to understand the sentence, where known.
    """

    row: int
    ref: int
    image: int
    sentence_id: int
    raw: str
    sent: str
    tokens: tuple[str, ...]
    abilities: tuple[str, ...]

    def text(self, field: TextField) -> str:
        """Returns the text of `field`: `sent`, `raw`, or `raw_lower`. Raises `UsageError` for another name."""
        if field not in TEXT_FIELDS:
            raise UsageError(unknown_name("text field", field, TEXT_FIELDS))
        return self.sent if field == "sent" else self.raw if field == "raw" else self.raw.lower()
