"""Draws an explained prediction, whichever system it is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from risctl.inference.explanation import ExplainedPrediction
from risctl.visualization.explain.choices import choices_contact_sheet
from risctl.visualization.explain.queries import queries_contact_sheet
from risctl.visualization.explain.regions import regions_contact_sheet
from risctl.visualization.explain.similarity import similarity_contact_sheet
from risctl.visualization.explain.stages import stages_contact_sheet
from risctl.visualization.explain.steps import steps_contact_sheet
from risctl.visualization.explain.words import words_contact_sheet

SHEETS: Mapping[str, Callable[[ExplainedPrediction[Any]], np.ndarray]] = {
    "steps": steps_contact_sheet,
    "words": words_contact_sheet,
    "queries": queries_contact_sheet,
    "regions": regions_contact_sheet,
    "choices": choices_contact_sheet,
    "stages": stages_contact_sheet,
    "similarity": similarity_contact_sheet,
}
"""What draws each kind of explanation."""


def explanation_contact_sheet(explained: ExplainedPrediction[Any]) -> np.ndarray:
    """Returns the contact sheet of `explained`, uint8 (H, W, 3)."""
    return SHEETS[explained.explanation.kind](explained)
