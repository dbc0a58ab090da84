"""Traces the outlines of masks as polygons, and fills polygons back to masks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# Directions along the grid of pixel corners, clockwise: right, down, left, up.
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def outlines(mask: np.ndarray, *, holes: bool = False) -> list[list[float]]:
    """Traces the edges of a mask's pixels.

    Args:
        mask: Bool (H, W).
        holes: Whether the outlines of holes are returned as well; filling by the even-odd rule then gives the mask
            back exactly. COCO's polygons have none.

    Returns:
        One polygon [x1, y1, x2, y2, …] per 4-connected part, in pixels from the top left corner of the image, and one
        per hole.
    """
    edges = _edges(mask)
    polygons = []
    while edges:
        polygon = _trace(edges)
        x, y = np.array(polygon[::2]), np.array(polygon[1::2])
        # Parts run clockwise, holes the other way.
        clockwise = (
            float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y)) > 0
        )  # the outlines of holes run the other way
        if clockwise or holes:
            polygons.append(polygon)
    return polygons


def fill(polygons: Iterable[np.ndarray], *, height: int, width: int) -> np.ndarray:
    """Fills polygons by the even-odd rule: a pixel is set if its centre is inside.

    What `outlines` traces with holes, this fills back exactly. A bridge that is walked both ways changes nothing.

    Args:
        polygons: Corners (N, 2) of each, x and y in pixels from the top left corner of the image; they may lie outside.
        height: Height of the image.
        width: Its width.

    Returns:
        The mask, bool (height, width).
    """
    crossed = np.zeros((height, width + 1), dtype=np.uint8)
    for polygon in polygons:
        start, end = polygon, np.roll(polygon, -1, axis=0)
        upper = np.where((start[:, 1] <= end[:, 1])[:, None], start, end)
        lower = np.where((start[:, 1] <= end[:, 1])[:, None], end, start)
        # The rows whose centres an edge crosses, from `first` up to `stop`.
        first = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.int64)
        stop = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.int64)
        for edge in np.flatnonzero(stop > first).tolist():
            (x0, y0), (x1, y1) = upper[edge].tolist(), lower[edge].tolist()
            rows = np.arange(first[edge], stop[edge])
            places = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
            columns = np.clip(np.ceil(places - 0.5), 0, width).astype(np.int64)
            crossed[rows, columns] ^= 1
    return np.logical_xor.accumulate(crossed[:, :width].astype(bool), axis=1)


def _edges(mask: np.ndarray) -> dict[tuple[int, int], list[int]]:
    """Returns by pixel corner (x, y) the directions of the edges that start there, the mask on their right."""
    padded = np.pad(mask.astype(np.int8), 1)
    down, across = np.diff(padded, axis=0), np.diff(padded, axis=1)
    edges: dict[tuple[int, int], list[int]] = {}
    for direction, (rows, columns), (dx, dy) in (
        (0, np.nonzero(down == 1), (-1, 0)),
        (1, np.nonzero(across == -1), (0, -1)),
        (2, np.nonzero(down == -1), (0, 0)),
        (3, np.nonzero(across == 1), (0, 0)),
    ):
        for x, y in zip((columns + dx).tolist(), (rows + dy).tolist(), strict=True):
            edges.setdefault((x, y), []).append(direction)
    return edges


def _trace(edges: dict[tuple[int, int], list[int]]) -> list[float]:
    """Removes one closed outline from `edges` and returns its corners."""
    corner = next(iter(edges))
    first = direction = edges[corner][0]
    start = corner
    polygon: list[float] = []
    while True:
        corner = (corner[0] + _STEPS[direction][0], corner[1] + _STEPS[direction][1])
        # Where two parts touch at a corner, turning right stays with the same part.
        turn = next(one for one in ((direction + 1) % 4, direction, (direction + 3) % 4) if one in edges[corner])
        edges[corner].remove(turn)
        if not edges[corner]:
            del edges[corner]
        if turn != direction:
            polygon += corner
        if corner == start and turn == first:
            return polygon
        direction = turn
