"""Defines the state of a run: what a resume needs beside tensors. Everything else follows from the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from risctl.errors import CheckpointError, RisctlError


class TrainingError(RisctlError):
    """Training cannot go on: the loss or the weights are no longer finite (exit code 1)."""


@dataclass(slots=True, kw_only=True)
class BestEvaluation:
    """The best evaluation so far: the metric, its value in per cent, and the step."""

    figure: str
    value: float
    step: int


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """The state of a run.

    Attributes:
        step: Updates done.
        evaluated: The step of the last evaluation.
        seconds: Training time, over all starts of the run.
        best: The best evaluation; None before the first.
        figures: The metrics of the last evaluation.
        window: Sums of the loss terms since the last line of the log.
        window_steps: The number of steps in `window`.
        window_norm: The sum of the norms of their gradients, before clipping.
        highest: The highest value of the figure that the run may stop by (`train.early_stop`).
        waited: How many evaluations there were since it rose.
        scaler: The state of the gradient scaler, with fp16.
        skipped: The images that could not be read: `image`, `problem`, and the `step` that first lacked them.
    """

    step: int = 0
    evaluated: int = 0
    seconds: float = 0.0
    best: BestEvaluation | None = None
    figures: dict[str, float] = field(default_factory=dict)
    window: dict[str, float] = field(default_factory=dict)
    window_steps: int = 0
    window_norm: float = 0.0
    highest: float | None = None
    waited: int = 0
    scaler: dict[str, Any] | None = None
    skipped: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Returns the state as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> TrainingState:
        """Returns the state that `to_json` gave.

        Raises:
            CheckpointError: `values` are no such state.
        """
        if not isinstance(values, Mapping):
            raise CheckpointError("the checkpoint holds no training state; it can be used, but not be resumed")
        try:
            known = dict(values)
            best = known.pop("best", None)
            return cls(**known, best=None if best is None else BestEvaluation(**best))
        except TypeError as error:
            raise CheckpointError(
                f"the checkpoint's training state is of another version of risctl: {error}"
            ) from error
