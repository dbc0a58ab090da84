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
    """One image: its row, the publisher's id and file name, its size in pixels."""

    row: int
    image_id: int
    file_name: str
    height: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationRow:
    """One instance in the image of row `image`; `box` is (x, y, width, height) in pixels."""

    row: int
    annotation_id: int
    image: int
    category_id: int
    box: tuple[float, float, float, float]
    crowd: bool
    mask: RLE


@dataclass(frozen=True, slots=True, kw_only=True)
class RefRow:
    """One referred target: rows of its image, annotations (none: no target) and sentences."""

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
    """One sentence of the ref of row `ref`, about the image of row `image`."""

    row: int
    ref: int
    image: int
    sentence_id: int
    raw: str
    sent: str
    tokens: tuple[str, ...]
    abilities: tuple[str, ...]

    def text(self, field: TextField) -> str:
        """Returns the text as `sent`, `raw`, or `raw` in lowercase. Raises `UsageError` for another name."""
        if field not in TEXT_FIELDS:
            raise UsageError(unknown_name("text field", field, TEXT_FIELDS))
        return self.sent if field == "sent" else self.raw if field == "raw" else self.raw.lower()
