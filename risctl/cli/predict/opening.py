"""Opens the model that predicts images: a checkpoint in torch, or an exported folder in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from risctl.errors import UsageError

if TYPE_CHECKING:
    from risctl.inference.store_predictor import PhrasePredictor


def open_any(
    model: Path | None,
    *,
    runtime: str,
    device: str,
    threshold: float | None,
    no_target_threshold: float | None,
    surest: bool = False,
) -> PhrasePredictor:
    """Opens a model.

    Args:
        model: An exported folder, or a name as `risctl.models.open.open_predictor` takes it.
        runtime: torch, onnx or auto.
        device: The device that torch computes on.
        threshold: In place of the model's own.
        no_target_threshold: In place of the model's own.
        surest: Of a model of transformers: whether its surest instance alone is the answer.

    Raises:
        UsageError: Runtime, device and model do not go together.
        CheckpointError: There is no usable model.
        MachineError: A device or a package is absent.
    """
    from risctl.runtime.manifest import is_exported

    if model is not None and is_exported(model):
        if runtime == "torch":
            raise UsageError(
                f"{model} is an exported model, which ONNX Runtime computes; name its checkpoint for torch"
            )
        if surest:
            raise UsageError("the surest instance alone is a choice of models of transformers; leave --surest out")
        if device not in ("auto", "cpu"):
            raise UsageError(f"an exported model is computed on the CPU; --device {device} goes with its checkpoint")
        from risctl.runtime.predictor import OnnxPredictor

        return OnnxPredictor(model, threshold=threshold, no_target_threshold=no_target_threshold)
    if runtime == "onnx":
        raise UsageError(
            f"--runtime onnx computes what `risctl export` wrote; {model or 'the model that comes with risctl'} is a "
            "checkpoint: export it first, and name the folder with --model"
        )
    from risctl.models.open import open_predictor

    return open_predictor(
        model, device=device, threshold=threshold, no_target_threshold=no_target_threshold, surest=surest
    )


def refuse_exported(model: Path | None, *, runtime: str, job: str) -> None:
    """Raises `UsageError` where an exported model, or its runtime, is named for a job that needs the checkpoint."""
    from risctl.runtime.manifest import is_exported

    if runtime == "onnx" or (model is not None and is_exported(model)):
        raise UsageError(f"{job} with a checkpoint, in torch; name one with --model")
