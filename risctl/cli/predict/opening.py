"""Opens the model that predicts images: a checkpoint in torch, or an exported folder in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from risctl.errors import UsageError

if TYPE_CHECKING:
    from risctl.inference.store_predictor import PhrasePredictor

MOST_IMAGES = 16
"""Up to so many images mini is computed by ONNX Runtime without being asked for: its start counts for more then."""


def open_any(
    model: Path | None,
    *,
    runtime: str,
    device: str,
    threshold: float | None,
    no_target_threshold: float | None,
    surest: bool = False,
    calibration: str | None = None,
    images: int = 1,
) -> PhrasePredictor:
    """Opens a model.

    Args:
        model: An exported folder, or a name as `risctl.models.open.open_predictor` takes it.
        runtime: torch, onnx or auto. auto takes ONNX Runtime for exported folders, and for mini where it is installed
            and nothing is asked for that torch alone does.
        device: The device that torch computes on.
        threshold: In place of the model's own.
        no_target_threshold: In place of the model's own.
        surest: Of a model of transformers: whether its surest instance alone is the answer.
        calibration: What --calibration says: checkpoints have calibrated thresholds, exported models do not.
        images: How many images there are: torch shares many out among processes, or gives them to a GPU.

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
        from risctl.runtime.clip_predictor import open_exported

        return open_exported(model, threshold=threshold, no_target_threshold=no_target_threshold)
    from risctl.runtime.packaged import is_available, is_mini, mini_folder

    shipped = is_mini(model)
    if runtime == "onnx" and not shipped:
        raise UsageError(
            f"--runtime onnx computes what `risctl export` wrote; {model} is a checkpoint: export it first, and name "
            "the folder with --model"
        )
    for_torch = surest or device not in ("auto", "cpu") or calibration not in (None, "none")
    if runtime == "onnx" and for_torch:
        raise UsageError(
            "--runtime onnx computes on the CPU, without --surest and --calibration; leave them and --device out"
        )
    if shipped and runtime != "torch" and not for_torch:
        few = images <= MOST_IMAGES and not (calibration is None and _is_calibrated())
        if runtime == "onnx" or (few and is_available()):
            folder = mini_folder()
            if folder is None:
                raise UsageError("this copy of risctl lacks mini's graphs; export mini, and name the folder")
            from risctl.runtime.predictor import OnnxPredictor

            return OnnxPredictor(folder, threshold=threshold, no_target_threshold=no_target_threshold)
    from risctl.models.open import open_predictor

    return open_predictor(
        model, device=device, threshold=threshold, no_target_threshold=no_target_threshold, surest=surest
    )


def _is_calibrated() -> bool:
    """Returns whether the user's cache may hold calibrated thresholds for mini, which torch's path looks into."""
    from risctl.files import cache_folder

    return any((cache_folder() / "calibration").glob("mini-*.json"))


def refuse_exported(model: Path | None, *, runtime: str, job: str) -> None:
    """Raises `UsageError` where an exported model, or its runtime, is named for a job that needs the checkpoint."""
    from risctl.runtime.manifest import is_exported

    if runtime == "onnx" or (model is not None and is_exported(model)):
        raise UsageError(f"{job} with a checkpoint, in torch; name one with --model")
