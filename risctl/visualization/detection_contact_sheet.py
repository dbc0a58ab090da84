"""Draws detections beside the annotations of a store's images, on one contact sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from risctl.data.store.reader import Store
from risctl.errors import DataError
from risctl.results import Detection
from risctl.vision import rle
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import fit_image, grid
from risctl.vision.drawing.overlays import overlay
from risctl.visualization.contact_sheet import ContactSheet

_SIDE, _FONT_SIZE = 360, 14


def detection_contact_sheet(
    store: Store,
    detections: Mapping[int, Sequence[Detection]],
    names: Sequence[str],
    *,
    min_score: float,
    max_count: int = 10,
    title: str = "",
    columns: int = 2,
) -> ContactSheet:
    """Draws the best detections of each image on the right, and its largest annotations on the left.

    Args:
        store: The store of the images.
        detections: The detections of each image, by its row.
        names: The categories that were looked for; annotations of others are left out.
        min_score: The score that detections exceed, for the heading.
        max_count: How many annotations and detections are drawn per image.
        title: First line of the heading.
        columns: Images side by side.

    Raises:
        DataError: There is no image to show, or the store is damaged.
    """
    if not detections:
        raise DataError(f"{store.path} has no picture to show")
    panels, entries = [], []
    for row, of_image in detections.items():
        pixels, image_id = store.pixels(row), store.image(row).image_id
        best = sorted(of_image, key=lambda one: -one.score)[:max_count]
        annotations = [store.annotation(int(number)) for number in store.annotations_of(row)]
        annotations = [
            annotation
            for annotation in annotations
            if store.category(annotation.category_id) in names and not annotation.crowd
        ]
        largest = sorted(annotations, key=lambda one: -rle.area(one.mask))[:max_count]
        left = _drawn(
            pixels,
            [annotation.mask for annotation in largest],
            [store.category(annotation.category_id) for annotation in largest],
        )
        right = _drawn(
            pixels,
            [detection.segmentation for detection in best],
            [f"{detection.name} {detection.score:.2f}" for detection in best],
        )
        caption = Caption(text=f"image {image_id}: {len(annotations)} annotated, {len(of_image)} found")
        panels.append(with_captions(grid([left, right], columns=2), [caption], size=_FONT_SIZE))
        found = [{"class": detection.name, "score": detection.score, "box": list(detection.box)} for detection in best]
        entries.append({"image_id": image_id, "annotated": len(annotations), "found": found})
    heading = [
        *([Caption(text=title)] if title else []),
        Caption(
            text=f"left: annotated, the {max_count} largest; right: detected above {min_score:g}, the {max_count} best"
        ),
    ]
    return ContactSheet(pixels=grid(panels, columns=columns, heading=heading), entries=entries)


def _drawn(pixels: np.ndarray, masks: Sequence[rle.RLE], labels: Sequence[str]) -> np.ndarray:
    scaled, small = fit_image(pixels, [rle.decode(mask) for mask in masks], width=_SIDE, height=_SIDE)
    return overlay(scaled, small, labels)
