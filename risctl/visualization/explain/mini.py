"""A model that finds things and then chooses among them, and how probably it meant each, drawn on one sheet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from risctl.errors import UsageError
from risctl.inference.predictor import Predictor
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import fitted, grid
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import COLOURS, colour
from risctl.vision.images import Source
from risctl.visualization.explain.drawing import DrawnAnswer

_SIDE, _LETTERS = 440, 15


def has_choices(maps: Mapping[str, Any]) -> bool:
    """Return whether a prediction's maps are those of boxes chosen from."""
    return {"boxes", "choice"} <= set(maps)


def draw_choices(predictor: Predictor, image: Source, text: str) -> DrawnAnswer:
    """Ask `text` about `image` and draw the answer, and the boxes of the things that were most probably meant.

    numbers: the things, the most probable first. Raises what `Predictor.predict` raises, and `UsageError` if the model
    does not choose among things.
    """
    [prediction] = predictor.predict(image, text)
    pixels = prediction.image
    if not has_choices(prediction.maps) or pixels is None:
        raise UsageError(f"expected a model that chooses among things, such as mini; {predictor.path} is another")
    boxes, shares = prediction.maps["boxes"], prediction.maps["choice"]
    order = [int(one) for one in np.argsort(-shares, kind="stable")[: len(COLOURS)] if shares[one] > 0]
    picture, [mask] = fitted(pixels, [prediction.mask], width=_SIDE, height=_SIDE)
    found = [Caption(text=f"found, score {prediction.score:.2f}", colour=colour(0), filled=bool(mask.any()))]
    answer = with_captions(overlay(picture, [mask]), found, size=_LETTERS, width=_SIDE)
    areas = [_area(boxes[one], picture.shape[0], picture.shape[1]) for one in order]
    captions = [
        Caption(text=f"meant with probability {shares[one]:.2f}", colour=colour(rank)) for rank, one in enumerate(order)
    ]
    # The least probable first, so that its lines do not lie over those of the others.
    drawn = overlay(picture, areas[::-1], colours=[colour(rank) for rank in range(len(order))][::-1], tint=0.0)
    things = with_captions(drawn, captions or [Caption(text="nothing to choose from")], size=_LETTERS, width=_SIDE)
    sides = (pixels.shape[1], pixels.shape[0]) * 2
    sheet = grid([answer, things], columns=2, heading=[Caption(text=f"“{text}”")])
    records = [
        {
            "probability": round(float(shares[one]), 6),
            "box": [round(float(part) * side, 1) for part, side in zip(boxes[one], sides, strict=True)],
        }
        for one in order
    ]
    return DrawnAnswer(sheet=sheet, kind="choices", numbers={"things": records})


def _area(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return the bool mask (height, width) of a box, xyxy in shares of the picture; at least one pixel."""
    area = np.zeros((height, width), dtype=bool)
    left, right = (int(np.clip(round(float(part) * width), 0, width - 1)) for part in (box[0], box[2]))
    top, bottom = (int(np.clip(round(float(part) * height), 0, height - 1)) for part in (box[1], box[3]))
    area[top : bottom + 1, left : right + 1] = True
    return area
