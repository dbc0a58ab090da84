"""What a model shows of an answer, as JSON values and a drawn sheet: whatever its system explains, or candidates."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from risctl.runtime.predictor import OnnxPredictor

CANDIDATES = "candidates"
_MOST = 7  # as many as there are colours to tell them apart by


def explanation_kind(predictor: object) -> str | None:
    """Returns what a predictor can show of its answers, None if nothing."""
    if isinstance(predictor, OnnxPredictor):  # asked first: what follows imports torch
        return None
    from risctl.inference.predictor import Predictor
    from risctl.models.predictor import PromptedPredictor
    from risctl.systems.explanation import Explainable

    if isinstance(predictor, Predictor):
        return predictor.system.explanation_kind if isinstance(predictor.system, Explainable) else None
    return CANDIDATES if isinstance(predictor, PromptedPredictor) else None


def explained(predictor: Any, phrase: str) -> dict[str, Any]:
    """Explains one phrase in the image that is set.

    Args:
        predictor: One that `explanation_kind` says can.
        phrase: The phrase.

    Returns:
        `kind`; `details`, JSON values; `sheet`, a drawing as PNG in base64, None where there is none.
    """
    from risctl.models.predictor import PromptedPredictor

    if isinstance(predictor, PromptedPredictor):
        return {"kind": CANDIDATES, "details": {"things": predictor.candidates(phrase, most=_MOST)}, "sheet": None}
    from risctl.inference.explanation import explain_set_image
    from risctl.visualization.explain.sheets import explanation_contact_sheet

    shown = explain_set_image(predictor, phrase)
    file = io.BytesIO()
    Image.fromarray(explanation_contact_sheet(shown)).save(file, "PNG", compress_level=3)
    return {
        "kind": shown.explanation.kind,
        "details": shown.explanation.to_dict(),
        "sheet": base64.b64encode(file.getvalue()).decode("ascii"),
    }
