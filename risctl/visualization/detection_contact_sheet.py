"""What a model finds by class beside what is annotated, for some pictures of a store, on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from risctl.data.store.reader import Store
from risctl.errors import DataError
from risctl.inference.encoded_image import encode, prepare
from risctl.results import Detection
from risctl.systems.base import System
from risctl.systems.protocols import as_detector
from risctl.vision import rle
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import fitted, grid
from risctl.vision.drawing.overlays import overlay

_SIDE, _LETTERS = 360, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnDetections:
    """sheet: uint8 (H, W, 3); pictures: those on it with what was found, as JSON values."""

    sheet: np.ndarray
    pictures: list[dict[str, Any]]


@torch.inference_mode()
def draw_detections(
    system: System,
    store: Store,
    rows: Sequence[int],
    parts: Sequence[Sequence[str]],
    *,
    score: float,
    most: int = 10,
    title: str = "",
    columns: int = 2,
) -> DrawnDetections:
    """Ask `system` for the classes of `parts` in the pictures `rows` and draw its `most` best things above `score`.

    Left stands what is annotated of these classes, at most as many, the largest. Raises `DataError` for a damaged
    store, or if there is nothing to show; `UsageError` if the system finds nothing by class, or knows not a name.
    """
    if not rows:
        raise DataError(f"{store.path} has no picture to show")
    detector = as_detector(system)
    asked = {name for names in parts for name in names}
    panels, pictures = [], []
    for row in rows:
        pixels = store.pixels(row)
        image = encode(system, prepare(system.preprocess, pixels))
        every = detector.detect(image.features, parts, geometry=image.geometry, min_score=score)
        found = sorted(every, key=lambda one: -one.score)[:most]
        things = [store.annotation(int(number)) for number in store.annotations_of(row)]
        things = [one for one in things if store.categories[one.category_id] in asked and not one.crowd]
        things = sorted(things, key=lambda one: -rle.area(one.mask))
        left = _drawn(
            pixels,
            [one.mask for one in things[:most]],
            [store.categories[one.category_id] for one in things[:most]],
        )
        right = _drawn(pixels, [one.segmentation for one in found], [f"{one.name} {one.score:.2f}" for one in found])
        told = f"image {store.image(row).image_id}: {len(things)} annotated, {len(every)} found"
        panels.append(with_captions(grid([left, right], columns=2), [Caption(text=told)], size=_LETTERS))
        pictures.append(
            {"image_id": store.image(row).image_id, "annotated": len(things), "found": [_told(one) for one in found]}
        )
    heading = [
        *([Caption(text=title)] if title else []),
        Caption(text=f"left: annotated, the {most} largest; right: found above {score:g}, the {most} best"),
    ]
    return DrawnDetections(sheet=grid(panels, columns=columns, heading=heading), pictures=pictures)


def _drawn(pixels: np.ndarray, masks: Sequence[rle.RLE], labels: Sequence[str]) -> np.ndarray:
    picture, small = fitted(pixels, [rle.decode(one) for one in masks], width=_SIDE, height=_SIDE)
    return overlay(picture, small, labels)


def _told(found: Detection) -> dict[str, Any]:
    return {"class": found.name, "score": found.score, "box": list(found.box)}
