"""How a model came to an answer, drawn as its system allows: what `risctl visualize attention` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from risctl.engine.choices_view import draw_choices, has_choices
from risctl.engine.predictor import Predictor
from risctl.engine.queries_view import draw_queries
from risctl.engine.steps_view import draw_steps, has_steps
from risctl.engine.words_view import draw_words, has_words
from risctl.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnAttention:
    """sheet: uint8 (H, W, 3); kind: words, steps, queries or choices; numbers: JSON values."""

    sheet: np.ndarray
    kind: str
    numbers: dict[str, Any]


def draw_attention(predictor: Predictor, source: Path, text: str, *, frames: int = 6) -> DrawnAttention:
    """Ask `text` about a picture (or a video, if the model takes such) and draw what the model has to show.

    The words that VLT's queries read, STEP's steps, ReferFormer's queries, the things that mini chose from. Raises
    `UsageError` if it has nothing to show, and what the drawing of its kind raises.
    """
    if predictor.system.takes_clips:
        queries = draw_queries(predictor, source, text, frames=frames)
        return DrawnAttention(sheet=queries.sheet, kind="queries", numbers=queries.to_json())
    [prediction] = predictor.predict(source, text)
    if has_words(prediction.maps):
        words = draw_words(predictor, source, text)
        return DrawnAttention(sheet=words.sheet, kind="words", numbers={"queries": words.queries})
    if has_steps(prediction.maps):
        steps = draw_steps(predictor, source, text)
        return DrawnAttention(sheet=steps.sheet, kind="steps", numbers={"steps": steps.steps})
    if has_choices(prediction.maps):
        choices = draw_choices(predictor, source, text)
        return DrawnAttention(sheet=choices.sheet, kind="choices", numbers={"things": choices.things})
    raise UsageError(
        f"{predictor.path} holds a {type(predictor.system).__name__}, which has no attention to draw; VLT, STEP, "
        "ReferFormer and mini have"
    )
