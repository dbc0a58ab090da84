"""Where a run stands: the little that a resume needs beside tensors. Everything else follows from the step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from risctl.errors import CheckpointError, RisctlError


class TrainingError(RisctlError):
    """Training cannot go on: the loss or the weights are no longer finite (exit code 1)."""


@dataclass(slots=True, kw_only=True)
class BestEvaluation:
    """The best evaluation so far."""

    figure: str
    value: float
    step: int


@dataclass(slots=True, kw_only=True)
class TrainingState:
    """step: updates done; evaluated: the step of the last evaluation; seconds: spent training, all starts together;

    window: sums of the loss terms since the last log line, over `window_steps`; scaler: of fp16.
    """

    step: int = 0
    evaluated: int = 0
    seconds: float = 0.0
    best: BestEvaluation | None = None
    figures: dict[str, float] = field(default_factory=dict)
    window: dict[str, float] = field(default_factory=dict)
    window_steps: int = 0
    scaler: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Any) -> TrainingState:
        """Return the state that `to_json` gave. Raises `CheckpointError` if it cannot be one."""
        if not isinstance(values, Mapping):
            raise CheckpointError("the checkpoint holds no training state; it can be used, not trained on")
        try:
            known = dict(values)
            best = known.pop("best", None)
            return cls(**known, best=None if best is None else BestEvaluation(**best))
        except TypeError as error:
            raise CheckpointError(
                f"the checkpoint's training state is of another version of risctl: {error}"
            ) from error
