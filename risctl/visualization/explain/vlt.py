"""A VLT asked one phrase about one picture, and what its queries read drawn: what `risctl visualize words` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from risctl.errors import UsageError
from risctl.inference.predictor import Predictor
from risctl.language.tokens import words_of
from risctl.vision.images import Source
from risctl.visualization.explain.drawing import DrawnAnswer
from risctl.visualization.explain.step import map_of_picture
from risctl.visualization.explain.vlt_sheet import WordsView, words_sheet

PADDING = "(padding)"
"""What stands for all places beyond the phrase: the published VLT reads them like words."""


def has_words(maps: Mapping[str, Any]) -> bool:
    """Return whether a prediction's maps are those of queries that read words."""
    return {"word_weights", "confidences", "attention"} <= set(maps)


def draw_words(predictor: Predictor, image: Source, text: str) -> DrawnAnswer:
    """Ask `text` about `image` and draw what each query reads, how much it counts, and where the queries look.

    numbers: each query's confidence and words' weights. Raises what `Predictor.predict` raises, and `UsageError` if the
    model has no such queries.
    """
    [prediction] = predictor.predict(image, text)
    maps, geometry, pixels = prediction.maps, prediction.geometry, prediction.image
    if not has_words(maps) or geometry is None or pixels is None:
        raise UsageError(
            f"expected a VLT, whose queries read words; {predictor.path} holds a model of another system "
            f"({predictor.describe().split(',')[0]}). `risctl visualize attention` draws what a model has"
        )
    count = int(predictor.system.preprocess.text(text)[1].sum())
    words, weights = words_of(text)[:count], maps["word_weights"][:, :count]
    beyond = maps["word_weights"][:, count:].sum(axis=1, keepdims=True)
    if beyond.shape[1] and float(beyond.max()) > 0:
        words, weights = [*words, PADDING], np.concatenate([weights, beyond], axis=1)
    attention = map_of_picture(maps["attention"], geometry)
    view = WordsView(weights=weights, confidences=maps["confidences"], attention=attention)
    queries = [
        {
            "query": number,
            "confidence": round(float(confidence), 6),
            "words": {
                word if word == PADDING else f"{place + 1} {word}": round(float(weight), 6)
                for place, (word, weight) in enumerate(zip(words, row, strict=True))
            },
        }
        for number, (confidence, row) in enumerate(zip(view.confidences, weights, strict=True))
    ]
    sheet = words_sheet(pixels, text, words=words, view=view, mask=prediction.mask)
    answer = {"score": prediction.score, "box": prediction.box}
    return DrawnAnswer(sheet=sheet, kind="words", numbers={"queries": queries}, answer=answer)
