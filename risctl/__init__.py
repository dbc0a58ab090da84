"""risctl: referring image segmentation. An image and a phrase in, the mask out.

Example:
    >>> import risctl
    >>> model = risctl.load()
    >>> [prediction] = model.predict("photo.jpg", ["the red cup on the left"])
    >>> prediction.mask.shape
    (480, 640)

Nothing heavy is imported by `import risctl`: each name loads what it needs when it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from risctl.data.store.reader import Store
    from risctl.evaluation.model_evaluation import evaluate
    from risctl.evaluation.scoring.judge import score
    from risctl.inference.predictor import Predictor
    from risctl.inference.video_predictor import VideoPredictor
    from risctl.models.predictor import PromptedPredictor
    from risctl.results import Prediction
    from risctl.training.run import TrainingResult

__version__ = "0.2.0.dev0"
__all__ = [
    "Prediction",
    "Predictor",
    "Store",
    "VideoPredictor",
    "__version__",
    "evaluate",
    "load",
    "resume",
    "score",
    "train",
]

_LAZY = {
    "Prediction": "risctl.results",
    "Predictor": "risctl.inference.predictor",
    "Store": "risctl.data.store.reader",
    "VideoPredictor": "risctl.inference.video_predictor",
    "evaluate": "risctl.evaluation.model_evaluation",
    "score": "risctl.evaluation.scoring.judge",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    threshold: float | None = None,
    no_target_threshold: float | None = None,
    surest: bool = False,
) -> Predictor | PromptedPredictor:
    """Opens a model for prediction.

    Args:
        model: A run folder (its `best` checkpoint, else its `last`), a checkpoint file, or `mini`, the small model that
            the package comes with, which None stands for as well. Or the name of a model of transformers, as `risctl
            models ls` lists them, `hf:OWNER/NAME`, or a folder in Hugging Face's layout.
        device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda` or `mps`.
        threshold: In [0, 1): a pixel belongs to the mask if its probability is above it. None takes the model's own.
        no_target_threshold: In [0, 1]: a phrase whose score is below it gets an empty mask; 0 gives every phrase a
            mask. None takes the model's own.
        surest: Of a model of transformers: whether its surest instance alone is the answer, not all above its
            threshold.

    Returns:
        The predictor, ready for `predict`.

    Raises:
        CheckpointError: There is no usable checkpoint.
        MachineError: The device is absent, or the weights of a model are neither here nor to be had.
        UsageError: A threshold is out of range, or the name is wrong.

    Example:
        >>> model = risctl.load("mini")
        >>> left, right = model.predict("photo.jpg", ["the left square", "the right square"])
        >>> left.text, left.mask.dtype
        ('the left square', dtype('bool'))
        >>> left.save("left.png").name
        'left.png'
    """
    from risctl.threads import watch

    watch()
    from risctl.models.open import open_predictor

    return open_predictor(
        model, device=device, threshold=threshold, no_target_threshold=no_target_threshold, surest=surest
    )


def train(
    recipe: str | Path, overrides: Sequence[str] = (), *, out: str | Path | None = None, device: str = "auto"
) -> TrainingResult:
    """Trains a model from a recipe.

    Args:
        recipe: A recipe file, or the name of a shipped recipe.
        overrides: Changes such as `optim.lr=3e-4`.
        out: The folder of the run; None makes a new one, `runs/RECIPE-NUMBER`.
        device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda` or `mps`.

    Returns:
        The run's folder, its best checkpoint, steps, seconds and figures.

    Raises:
        RecipeError: The recipe is wrong; all problems are listed.
        DataError: The data is missing or damaged.
        MachineError: The device is absent, or the disk is full.

    Example:
        >>> result = risctl.train("recipe.yaml", ["train.epochs=1"], out="runs/first", device="cpu")
        >>> result.checkpoint.name
        'best.safetensors'
    """
    from pathlib import Path

    from risctl.recipe.load import load_recipe
    from risctl.training import stages

    return stages.train(load_recipe(recipe, overrides), out=None if out is None else Path(out), device=device)


def resume(run: str | Path, overrides: Sequence[str] = (), *, device: str = "auto") -> TrainingResult:
    """Continues a run exactly where its `last` checkpoint stands.

    Args:
        run: The folder of the run.
        overrides: Changes of how long it trains and what it logs, such as `train.epochs=20`.
        device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda` or `mps`.

    Returns:
        As `train` returns it.

    Raises:
        UsageError: The folder holds no run, or a change cannot be made to a run that has begun.

    Example:
        >>> result = risctl.resume("runs/first", ["train.epochs=2"], device="cpu")
        >>> result.run.name
        'first'
    """
    from pathlib import Path

    from risctl.training import stages
    from risctl.training.run_folder import RunFolder

    folder = RunFolder.open(Path(run))
    recipe = folder.recipe(overrides) if overrides else None
    return stages.resume(folder.path, recipe=recipe, device=device)
