"""Defines what every format is written from: images, and masks with the phrases that they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from risctl.vision import rle
from risctl.vision.rle import RLE

LABEL = "target"
"""The class of masks without a category: a phrase is free text, so it is never a class's name."""


PHRASES = "phrases.jsonl"
"""The file of phrases beside those of formats that have no place for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedMask:
    """A mask of an image and what it answers.

    Attributes:
        mask: The mask, of the image's size; an empty one where nothing is there that the phrases refer to.
        phrases: The phrases that refer to it, at least one.
        category: What it is, `LABEL` if that is not known.
        ref_id: The publisher's id of the object referred to; -1 without one.
        sentence_ids: The publisher's ids of the phrases, in their order; empty without any.
        score: The confidence of a prediction; None of an annotation.
    """

    mask: RLE
    phrases: tuple[str, ...]
    category: str = LABEL
    ref_id: int = -1
    sentence_ids: tuple[int, ...] = ()
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotatedImage:
    """An image with its masks.

    Attributes:
        image_id: Its id.
        file_name: Its file below the folder of images, with forward slashes.
        height: Its height in pixels.
        width: Its width in pixels.
        masks: Its masks, the empty ones (nothing is there) among them.
    """

    image_id: int
    file_name: str
    height: int
    width: int
    masks: tuple[AnnotatedMask, ...]


def phrase_row(image: AnnotatedImage, one: AnnotatedMask, **place: int) -> dict[str, Any]:
    """Returns the row of `phrases.jsonl` that tells the phrases of a mask, for formats that have no place for them.

    Args:
        image: The image.
        one: The mask.
        place: What names the mask in the format's own file; 0 where it has none.
    """
    return {
        "file_name": image.file_name,
        **place,
        "phrases": list(one.phrases),
        "category": one.category,
        "ref_id": one.ref_id,
        "sent_ids": list(one.sentence_ids),
        "score": one.score,
    }


def crop_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Returns left, top, width and height in pixels of what is set in a mask (H, W) that is not empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    left, top = int(columns[0]), int(rows[0])
    return left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1


def decoded(one: AnnotatedMask) -> np.ndarray:
    """Returns the mask of an annotation, bool (H, W)."""
    return rle.decode(one.mask)
