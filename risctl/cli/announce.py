"""Describes the model before a command runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from risctl.cli import console

if TYPE_CHECKING:
    from risctl.inference.predictor import Predictor


def announce_model(predictor: Predictor, texts: Sequence[str]) -> Predictor:
    """Prints what the model is and warns of texts that it cannot read whole.

    Args:
        predictor: The opened model.
        texts: The expressions that it will be given.

    Returns:
        The predictor.
    """
    console.say(predictor.describe())
    for text in texts:
        for warning in predictor.warnings(text):
            console.warn(f"{text!r}: {warning}")
    return predictor
