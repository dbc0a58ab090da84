"""Sends the figures of a run to TensorBoard and Weights & Biases, through accelerate's trackers."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from risctl.errors import MachineError
from risctl.recipe.schema import Recipe

_WANDB_ID = "id"
_PROJECT = "risctl"


def check_trackers(names: Sequence[str] | None) -> None:
    """Checks that the trackers that a recipe names are installed.

    Raises:
        MachineError: One is not.
    """
    for name in names or ():
        if find_spec(name) is None:
            raise MachineError(f"train.trackers names {name}, which is not installed: pip install 'risctl[{name}]'")


class Trackers:
    """The trackers of a run, opened.

    TensorBoard's files stand in `tensorboard/` of the run folder, those of Weights & Biases in `wandb/`. Without
    `train.trackers` there is TensorBoard, where it is installed, and what is wrong with it stops no run.
    """

    def __init__(self, recipe: Recipe, run: Path, *, step: int) -> None:
        """Opens the trackers.

        Args:
            recipe: The recipe, which names them.
            run: The run folder.
            step: Where the run goes on; TensorBoard leaves out what came after it.

        Raises:
            MachineError: One that the recipe names cannot be opened.
        """
        names = recipe.train.trackers
        self._opened: dict[str, Any] = {}
        for name in ("tensorboard",) if names is None else names:
            try:
                self._opened[name] = _tensorboard(run, step) if name == "tensorboard" else _wandb(recipe, run)
            except Exception as error:  # whatever a library raises
                if names is not None:
                    self.close()
                    raise MachineError(f"{name} cannot be started: {_line(error)}{_HINTS.get(name, '')}") from error

    def log(self, values: Mapping[str, float], *, step: int) -> list[str]:
        """Sends values, and returns what to say of trackers that take no more: metrics.jsonl has the values."""
        lines = []
        for name, tracker in list(self._opened.items()):
            try:
                tracker.log(dict(values), step=step)
            except Exception as error:
                del self._opened[name]
                lines.append(f"{name} is told no more: {_line(error)}")
        return lines

    def close(self) -> None:
        """Ends all trackers."""
        for name in list(self._opened):
            try:
                self._opened.pop(name).finish()
            except Exception:
                continue


_HINTS = {"wandb": "; log in with `wandb login`, or set WANDB_MODE=offline, which keeps the log in the run folder"}


def _tensorboard(run: Path, step: int) -> Any:
    from accelerate.tracking import TensorBoardTracker

    return _started(TensorBoardTracker("tensorboard", logging_dir=str(run), purge_step=step + 1))


def _wandb(recipe: Recipe, run: Path) -> Any:
    from accelerate.tracking import WandBTracker

    folder = run / "wandb"
    folder.mkdir(exist_ok=True)
    project = os.environ.get("WANDB_PROJECT") or _PROJECT
    tracker = _started(WandBTracker(project, dir=str(run), name=run.name, id=_identity(folder), resume="allow"))
    tracker.store_init_configuration(recipe.model_dump(mode="json"))
    return tracker


def _identity(folder: Path) -> str:
    """Returns the id of the run, the same whenever it goes on."""
    file = folder / _WANDB_ID
    if file.is_file() and re.fullmatch(r"[0-9a-f]{16}", known := file.read_text(encoding="utf-8")[:20]):
        return known
    file.write_text(made := secrets.token_hex(8), encoding="utf-8")
    return made


def _started(tracker: Any) -> Any:
    # Older versions of accelerate start a tracker when it is made.
    if hasattr(tracker, "start"):
        tracker.start()
    return tracker


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
