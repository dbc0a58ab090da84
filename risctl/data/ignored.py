"""Finds the regions of images that evaluation ignores: pixels that count neither as right nor as wrong."""

from __future__ import annotations

from risctl.data.store.reader import Store
from risctl.vision import rle
from risctl.vision.rle import RLE

IGNORED = "ignored region"
"""The category of annotations, marked as crowds, whose pixels are ignored. Other crowds are ordinary pixels."""


def ignored_region(store: Store, image: int) -> RLE | None:
    """Returns the pixels to ignore in the image of row `image`; None if there are none."""
    ids = [number for number, name in store.categories.items() if name == IGNORED]
    if not ids:
        return None
    category, crowd = store.numbers("annotations/category"), store.numbers("annotations/crowd")
    rows = [row for row in store.annotations_of(image).tolist() if category[row] in ids and crowd[row]]
    return rle.union([store.annotation(row).mask for row in rows]) if rows else None
