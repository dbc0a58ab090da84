"""risctl: referring image segmentation. Give it a picture and a phrase, get the mask.

>>> import risctl
>>> model = risctl.load()  # the model that risctl comes with; risctl.load("runs/vlt-scenes") for one of your own
>>> prediction = model.predict("photo.jpg", ["the red cup on the left"])[0]
>>> prediction.mask.shape, prediction.score
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from risctl.inference.predictor import Predictor

__version__ = "0.2.0.dev0"
__all__ = ["__version__", "load"]


def load(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    threshold: float | None = None,
    no_target_threshold: float | None = None,
) -> Predictor:
    """Open a trained model for prediction.

    `model` is a run folder (its `best` checkpoint is taken, else its `last`) or a checkpoint file; without it, the
    small model that the package ships. `device` is `auto`, `cpu`, `cuda` or `mps`; `threshold` overrides the mask
    threshold of the recipe, `no_target_threshold` the score below which a phrase is answered with nothing (0: never).
    Raises `CheckpointError` if there is no usable checkpoint, `MachineError` if the device is absent.
    """
    from risctl.inference.predictor import Predictor  # torch is imported here, not at `import risctl`

    return Predictor.load(model, device=device, threshold=threshold, no_target_threshold=no_target_threshold)
