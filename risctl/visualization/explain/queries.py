"""Draws all queries of ReferFormer over time on one contact sheet: their masks, boxes and scores, a row per frame."""

from __future__ import annotations

import numpy as np

from risctl.inference.explanation import ExplainedPrediction
from risctl.systems.referformer.explain import QueriesOverTime
from risctl.vision.drawing.contact_sheet import contact_sheet
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import colour
from risctl.visualization.explain.images import with_image

_BOX_COLOUR = (255, 255, 255)


def queries_contact_sheet(explained: ExplainedPrediction[QueriesOverTime]) -> np.ndarray:
    """Draws the queries, a column per query; the chosen one has another colour.

    Args:
        explained: The predictions of T frames that kept their images.

    Returns:
        The contact sheet, uint8 (H', W', 3).
    """
    queries = explained.explanation
    cells, captions = [], []
    for index, (frame, name) in enumerate(zip(explained.frames, explained.names, strict=True)):
        for query in range(queries.scores.shape[1]):
            chosen = query == queries.chosen
            paint = colour(1 if chosen else 0)
            drawn = overlay(with_image(frame), [queries.masks[index, query]], colours=[paint]).copy()
            _draw_box(drawn, queries.boxes[index, query])
            cells.append(drawn)
            answer = ", the answer" if chosen else ""
            captions.append(f"{name}: query {query}, {queries.scores[index, query]:.2f}{answer}")
    return contact_sheet(cells, captions, columns=queries.scores.shape[1], cell=240)


def _draw_box(pixels: np.ndarray, box: np.ndarray) -> None:
    """Draws a box (cx cy w h, relative) on the image in place, its lines one to three pixels wide."""
    height, width = pixels.shape[:2]
    left, right = (np.clip(round((box[0] + side * box[2] / 2) * width), 0, width - 1) for side in (-1, 1))
    top, bottom = (np.clip(round((box[1] + side * box[3] / 2) * height), 0, height - 1) for side in (-1, 1))
    thick = max(1, min(height, width) // 200)
    for rows, columns in (
        (slice(top, top + thick), slice(left, right + 1)),
        (slice(max(0, bottom - thick + 1), bottom + 1), slice(left, right + 1)),
        (slice(top, bottom + 1), slice(left, left + thick)),
        (slice(top, bottom + 1), slice(max(0, right - thick + 1), right + 1)),
    ):
        pixels[rows, columns] = _BOX_COLOUR
