"""A STEP asked one phrase about one picture, and its steps drawn: what `risctl visualize steps` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

from risctl.errors import UsageError
from risctl.inference.predictor import Predictor
from risctl.language.tokens import words_of
from risctl.vision.geometry import Geometry
from risctl.vision.images import Source
from risctl.visualization.explain.drawing import DrawnAnswer
from risctl.visualization.explain.step_sheet import StepView, steps_sheet

_LARGEST = 480
"""The longest side at which maps are kept for drawing; a photograph's own size would take gigabytes for 25 steps."""


def has_steps(maps: Mapping[str, Any]) -> bool:
    """Return whether a prediction's maps are those of steps."""
    return {"heatmaps", "masks", "word_attention", "levels"} <= set(maps)


def draw_steps(predictor: Predictor, image: Source, text: str) -> DrawnAnswer:
    """Ask `text` about `image` and draw how the answer came about; numbers: each step's level and words' weights.

    Raises what `Predictor.predict` raises, and `UsageError` if the model has no steps to show.
    """
    [prediction] = predictor.predict(image, text)
    maps, geometry, pixels = prediction.maps, prediction.geometry, prediction.image
    if not has_steps(maps) or geometry is None or pixels is None:
        raise UsageError(
            f"expected a STEP, whose steps can be drawn; {predictor.path} holds a model of another system "
            f"({predictor.describe().split(',')[0]}). `risctl train step-scenes` makes a small STEP"
        )
    count = int(predictor.system.preprocess.text(text)[1].sum())
    words = words_of(text)[:count]
    views = [
        StepView(
            level=int(level),
            heatmap=map_of_picture(heatmap, geometry),
            probability=map_of_picture(probability, geometry),
            weights=weights[:count],
        )
        for level, heatmap, probability, weights in zip(
            maps["levels"], maps["heatmaps"], maps["masks"], maps["word_attention"], strict=True
        )
    ]
    levels = [view.level for view in views]
    sheet = steps_sheet(
        pixels,
        text,
        words=words,
        steps=views,
        mask=prediction.mask,
        columns=len(set(levels)) if levels else 1,
        threshold=prediction.threshold,
    )
    records = [
        {
            "step": number,
            "level": view.level,
            "words": {
                f"{place + 1} {word}": round(float(weight), 6)
                for place, (word, weight) in enumerate(zip(words, view.weights, strict=True))
            },
        }
        for number, view in enumerate(views, start=1)
    ]
    answer = {"score": prediction.score, "box": prediction.box}
    return DrawnAnswer(sheet=sheet, kind="steps", numbers={"steps": records}, answer=answer)


def map_of_picture(values: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return a map (h, w) of the network's input as one of the picture, scaled down to what a sheet needs."""
    whole = geometry.invert(torch.from_numpy(np.ascontiguousarray(values))[None])[0].numpy()
    scale = min(1.0, _LARGEST / max(whole.shape))
    size = (max(1, round(whole.shape[1] * scale)), max(1, round(whole.shape[0] * scale)))
    return np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.BILINEAR))
