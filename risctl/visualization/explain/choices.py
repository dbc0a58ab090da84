"""Draws the boxes that mini chose among on one contact sheet, each with how probably it is referred to."""

from __future__ import annotations

import numpy as np

from risctl.inference.explanation import ExplainedPrediction
from risctl.systems.mini.explain import BoxProbabilities
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import fit_image, grid
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import colour
from risctl.visualization.explain.images import with_image

_SIDE, _FONT_SIZE = 440, 15


def choices_contact_sheet(explained: ExplainedPrediction[BoxProbabilities]) -> np.ndarray:
    """Draws the mask of the prediction, and beside it the most probable boxes.

    Args:
        explained: A prediction that kept its image.

    Returns:
        The contact sheet, uint8 (H', W', 3).
    """
    [prediction], chosen = explained.frames, explained.explanation
    scaled, [mask] = fit_image(with_image(prediction), [prediction.mask], width=_SIDE, height=_SIDE)
    caption = Caption(text=f"predicted mask, score {prediction.score:.2f}", colour=colour(0), filled=bool(mask.any()))
    answer = with_captions(overlay(scaled, [mask]), [caption], size=_FONT_SIZE, width=_SIDE)
    areas = [_area(box, scaled.shape[0], scaled.shape[1]) for box in chosen.boxes]
    colours = [colour(rank) for rank in range(len(areas))]
    captions = [
        Caption(text=f"selected with probability {probability:.2f}", colour=paint)
        for probability, paint in zip(chosen.probabilities, colours, strict=True)
    ]
    # The least probable first, so that its lines do not lie over those of the others.
    drawn = overlay(scaled, areas[::-1], colours=colours[::-1], tint=0.0)
    boxes = with_captions(drawn, captions or [Caption(text="nothing to choose from")], size=_FONT_SIZE, width=_SIDE)
    return grid([answer, boxes], columns=2, heading=[Caption(text=f"“{prediction.text}”")])


def _area(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns the bool mask (height, width) of a box (x1 y1 x2 y2, relative); at least one pixel."""
    area = np.zeros((height, width), dtype=bool)
    left, right = (int(np.clip(round(float(part) * width), 0, width - 1)) for part in (box[0], box[2]))
    top, bottom = (int(np.clip(round(float(part) * height), 0, height - 1)) for part in (box[1], box[3]))
    area[top : bottom + 1, left : right + 1] = True
    return area
