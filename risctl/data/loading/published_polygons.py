"""Rasterises training masks from published polygons at the size of a network's input, as ReLA's code does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from risctl.data.datasets.coco_instances import read_instances, without_short_polygons
from risctl.data.datasets.problems import Problems
from risctl.errors import DataError
from risctl.vision import rle


class PublishedPolygons:
    """The polygons of annotations, by their published ids. It pickles: each loader worker has one.

    Args:
        polygons: For each annotation its polygons, float64 arrays x, y, … in pixels of the image.
    """

    def __init__(self, polygons: Mapping[int, Sequence[np.ndarray]]) -> None:
        """Keeps the polygons."""
        self._polygons = dict(polygons)

    @classmethod
    def read(cls, path: Path, *, annotation_ids: Collection[int]) -> PublishedPolygons:
        """Reads the polygons of some annotations.

        Args:
            path: A published `instances.json`.
            annotation_ids: Which annotations.

        Raises:
            DataError: The file cannot be read, or lacks an annotation or its polygons.
        """
        entries = read_instances(path, Problems()).annotations
        found: dict[int, list[np.ndarray]] = {}
        for annotation_id in sorted(annotation_ids):
            entry = entries.get(annotation_id)
            if entry is None:
                raise DataError(
                    f"{path} has no annotation {annotation_id}, which the store has; name the file of its set"
                )
            polygons = without_short_polygons(entry.get("segmentation"))
            if isinstance(polygons, list):
                found[annotation_id] = [_points(one, annotation_id, path) for one in polygons]
        return cls(found)

    def mask(
        self, annotation_ids: Sequence[int], *, height: int, width: int, size: tuple[int, int]
    ) -> np.ndarray | None:
        """Returns the union of annotations, bool (size), rasterised there; None if one has no polygons (but an RLE).

        Args:
            annotation_ids: The annotations.
            height: Height of their image in pixels.
            width: Its width.
            size: (height, width) of the mask.
        """
        if any(one not in self._polygons for one in annotation_ids):
            return None
        polygons = [polygon.tolist() for one in annotation_ids for polygon in self._polygons[one]]
        return rle.decode(rle.rescaled(polygons, height=height, width=width, size=size))


def _points(polygon: object, annotation_id: int, path: Path) -> np.ndarray:
    try:
        points = np.array(polygon, dtype=np.float64)
    except (TypeError, ValueError):
        points = np.zeros((0, 0))
    if points.ndim != 1 or not np.isfinite(points).all():
        raise DataError(f"{path}: annotation {annotation_id} has a polygon that is no list of finite numbers")
    return points
