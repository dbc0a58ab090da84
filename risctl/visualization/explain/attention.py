"""How a model came to an answer, drawn as its system allows: what `risctl visualize attention` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from risctl.errors import UsageError
from risctl.inference.predictor import Predictor
from risctl.systems.protocols import takes_clips
from risctl.visualization.explain.drawing import DrawnAnswer
from risctl.visualization.explain.mini import draw_choices, has_choices
from risctl.visualization.explain.referformer import draw_queries
from risctl.visualization.explain.step import draw_steps, has_steps
from risctl.visualization.explain.vlt import draw_words, has_words


def draw_attention(predictor: Predictor, source: Path, text: str, *, frames: int = 6) -> DrawnAnswer:
    """Ask `text` about a picture (or a video, if the model takes such) and draw what the model has to show.

    The words that VLT's queries read, STEP's steps, ReferFormer's queries, the things that mini chose from. Raises
    `UsageError` if it has nothing to show, and what the drawing of its kind raises.
    """
    if takes_clips(predictor.system):
        return draw_queries(predictor, source, text, frames=frames)
    [prediction] = predictor.predict(source, text)
    for has, draw in ((has_words, draw_words), (has_steps, draw_steps), (has_choices, draw_choices)):
        if has(prediction.maps):
            return draw(predictor, source, text)
    raise UsageError(
        f"{predictor.path} holds a {type(predictor.system).__name__}, which has no attention to draw; VLT, STEP, "
        "ReferFormer and mini have"
    )


VIEWS: Mapping[str, Callable[..., DrawnAnswer]] = {
    "steps": draw_steps,
    "words": draw_words,
    "attention": draw_attention,
    "queries": draw_queries,
}
"""What `risctl visualize` can be asked to draw of an answer: f(predictor, picture, text) -> drawn. The last two draw
videos too, of which they take `frames`."""
