"""Describes the model before a command runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from risctl.cli import console

if TYPE_CHECKING:
    from risctl.inference.store_predictor import PhrasePredictor

Model = TypeVar("Model", bound="PhrasePredictor")


def announce_model(predictor: Model, texts: Sequence[str]) -> Model:
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
