"""Draws polygons of whole pixels, outline and inside, by OpenCV's rule, for datasets that were rasterised with it.

Lines are Bresenham's from the left end, clipped to the image first. The inside is filled row by row from
crossing to crossing, which are computed in 16-bit fixed point. Checked against masks that OpenCV made
(ReasonSeg's annotations).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

Point = tuple[int, int]

_ONE = 1 << 16


def fill_outlined(points: Sequence[Point], *, height: int, width: int) -> np.ndarray:
    """Returns the mask, bool (H, W), of a closed polygon with its outline.

    Args:
        points: Corners (x, y) in pixels, which may lie outside the image; two are a line, one a pixel.
        height: Height of the image.
        width: Its width.
    """
    mask = np.zeros((height, width), dtype=bool)
    for start, end in _edges(points):
        for x, y in _line(start, end, height=height, width=width):
            mask[y, x] = True
    crossings: dict[int, list[int]] = {}
    for (x0, y0), (x1, y1) in _edges(points):
        if y0 == y1:
            continue
        # The slope is that of the part within the image, as the outline has it.
        inside = _clipped((x0, y0), (x1, y1), right=width - 1, bottom=height - 1)
        if inside is None or inside[0][1] == inside[1][1]:
            inside = (x0, y0), (x1, y1)
        (from_x, from_y), (to_x, to_y) = inside if inside[0][1] < inside[1][1] else inside[::-1]
        slope = _quotient((to_x - from_x) * _ONE, to_y - from_y)
        for y in range(max(min(y0, y1), 0), min(max(y0, y1), height)):
            crossings.setdefault(y, []).append(from_x * _ONE + slope * (y - from_y))
    for y, places in crossings.items():
        places.sort()
        for left, right in zip(places[::2], places[1::2], strict=True):
            first, last = (left + _ONE - 1) >> 16, right >> 16
            mask[y, max(first, 0) : max(last + 1, 0)] = True
    return mask


def _edges(points: Sequence[Point]) -> Iterator[tuple[Point, Point]]:
    """Yields the edges of the closed polygon, that which closes it first."""
    for number, point in enumerate(points):
        yield points[number - 1], point


def _line(start: Point, end: Point, *, height: int, width: int) -> Iterator[Point]:
    """Yields the pixels of a line within the image."""
    clipped = _clipped(start, end, right=width - 1, bottom=height - 1)
    if clipped is None:
        return
    (x, y), (to_x, to_y) = sorted(clipped, key=lambda point: point[0]) if clipped[1][0] < clipped[0][0] else clipped
    down, across = abs(to_y - y), to_x - x
    step = 1 if to_y >= y else -1
    steep = down > across
    long, short = (down, across) if steep else (across, down)
    error = long - 2 * short
    for _ in range(long + 1):
        yield x, y
        aside = error < 0
        error += 2 * long * aside - 2 * short
        if steep:
            x, y = x + aside, y + step
        else:
            x, y = x + 1, y + step * aside


def _clipped(start: Point, end: Point, *, right: int, bottom: int) -> tuple[Point, Point] | None:
    """Returns the part of a line within the image, its new ends cut off to whole pixels; None if there is none."""

    def sides(x: int, y: int) -> int:
        return (x < 0) + 2 * (x > right) + 4 * (y < 0) + 8 * (y > bottom)

    (x0, y0), (x1, y1) = start, end
    first, last = sides(x0, y0), sides(x1, y1)
    if not first & last and first | last:
        if first & 12:
            edge = 0 if first < 8 else bottom
            x0, y0 = x0 + int((edge - y0) * (x1 - x0) / (y1 - y0)), edge
            first = sides(x0, y0) & 3
        if last & 12:
            edge = 0 if last < 8 else bottom
            x1, y1 = x1 + int((edge - y1) * (x1 - x0) / (y1 - y0)), edge
            last = sides(x1, y1) & 3
        if not first & last and first | last:
            if first:
                edge = 0 if first == 1 else right
                x0, y0 = edge, y0 + int((edge - x0) * (y1 - y0) / (x1 - x0))
                first = 0
            if last:
                edge = 0 if last == 1 else right
                x1, y1 = edge, y1 + int((edge - x1) * (y1 - y0) / (x1 - x0))
                last = 0
    return None if first | last else ((x0, y0), (x1, y1))


def _quotient(top: int, bottom: int) -> int:
    """Returns top / bottom, cut off towards 0; `bottom` is positive."""
    return top // bottom if top >= 0 else -(-top // bottom)
