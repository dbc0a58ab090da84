"""Puts the calibrated thresholds of a model into it, and says so."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.errors import UsageError

if TYPE_CHECKING:
    from risctl.models.calibrated import Calibration

NONE = "none"

CalibrationOption = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="FILE|none",
        help="Thresholds that `risctl models calibrate --out` wrote. Default: those that it cached for this model; "
        "none: the model's own.",
        show_default=False,
    ),
]


def put_calibration(target: Any, *, model: Path | None, option: str | None, given: float | None = None) -> None:
    """Gives a model that was opened its calibrated thresholds, if it has any.

    Args:
        target: The model: a predictor or a system. One of another kind, such as an exported model, keeps its own.
        model: Its name.
        option: What --calibration says.
        given: The no-target threshold that the person gave, which stays.

    Raises:
        UsageError: The file is that of another model.
        DataError: The file cannot be read.
    """
    from risctl.runtime.predictor import OnnxPredictor

    if isinstance(target, OnnxPredictor):  # it answers without torch, which what follows would load
        _refuse(option)
        return
    from risctl.inference.predictor import Predictor
    from risctl.models.calibrated import put_into
    from risctl.models.predictor import PromptedPredictor
    from risctl.systems.base import System

    if not isinstance(target, Predictor | PromptedPredictor | System):
        _refuse(option)
        return
    calibration = _found(model, option)
    if calibration is not None:
        put_into(target, calibration, given=given)
        console.say(calibration.describe() + ("" if given is None else f"; no match below {given:g} as given"))


def _refuse(option: str | None) -> None:
    if option not in (None, NONE):
        raise UsageError("--calibration is for checkpoints and models of transformers; leave it out")


def _found(model: Path | None, option: str | None) -> Calibration | None:
    from risctl.models.calibrated import find_calibration, read_calibration, weights_of

    if option == NONE:
        return None
    named = option is not None
    calibration = read_calibration(Path(str(option))) if named else find_calibration(model)
    if calibration is None or calibration.weights == weights_of(model):
        return calibration
    about = f"was chosen for {calibration.model} with other weights"
    if named:
        raise UsageError(f"{option} {about}; calibrate {model or 'mini'}, or leave --calibration out")
    console.warn(f"the calibration of this model {about}, and is not used; `risctl models calibrate` chooses anew")
    return None
