"""Run folders: what a training run leaves behind.

recipe.yaml        the recipe with every key written out
command.txt        one line for each start of the run
versions.json      of everything that computes, as of the last start
metrics.jsonl      one JSON object a line: `kind` is `train` or `eval`
log.txt            what was said
tensorboard/       where TensorBoard is installed
last.safetensors   where a resume goes on; best.safetensors: the weights with the best figure
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from risctl import __version__
from risctl.checkpoints.loaded_model import BEST, LAST
from risctl.checkpoints.upgrade import upgraded_recipe
from risctl.errors import MachineError, UsageError
from risctl.files import replacing
from risctl.recipe.load import load_recipe
from risctl.recipe.schema import Recipe

RUNS = Path("runs")
_PACKAGES = ("torch", "torchvision", "accelerate", "safetensors", "transformers", "numpy", "h5py", "pillow", "pydantic")


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.yaml"
        self.metrics_file = path / "metrics.jsonl"
        self.log_file = path / "log.txt"
        self.best = path / BEST
        self.last = path / LAST

    @classmethod
    def create(cls, recipe: Recipe, *, out: Path | None = None) -> RunFolder:
        """Makes a new folder: `out`, or the first free `runs/<recipe>-<n>`.

        Raises:
            UsageError: `out` exists and is not empty.
            MachineError: The disk refuses.
        """
        try:
            path = _claimed_next(recipe.name) if out is None else _claimed(out)
        except OSError as error:
            raise MachineError(f"cannot make a run folder: {error}") from error
        run = cls(path)
        run._write_recipe(recipe)
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Returns the run in the folder `path`.

        Raises:
            UsageError: There is no run.
        """
        run = cls(path)
        if not run.recipe_file.is_file():
            what = "is no run folder: it has no recipe.yaml" if path.is_dir() else "does not exist"
            raise UsageError(f"{path} {what}; --resume takes a folder that `risctl train` wrote")
        return run

    def recipe(self) -> Recipe:
        """Returns the recipe of the run, also of one that risctl 0.1 wrote.

        Raises:
            RecipeError: It was edited and is no longer valid.
        """
        return load_recipe(self.recipe_file, upgrade=partial(upgraded_recipe, version=1))

    def note_start(self, recipe: Recipe, command: str) -> None:
        """Record how and with what the run is started or goes on."""
        self._write_recipe(recipe)
        with (self.path / "command.txt").open("a", encoding="utf-8") as file:
            file.write(f"{command}\n")
        with replacing(self.path / "versions.json") as file:
            file.write_text(json.dumps(versions(), indent=2) + "\n", encoding="utf-8")

    def threads(self) -> int | None:
        """Returns how many threads the run's last start computed with, None if that is not known."""
        try:
            count = json.loads((self.path / "versions.json").read_text(encoding="utf-8"))["threads"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return count if isinstance(count, int) and count > 0 else None

    def _write_recipe(self, recipe: Recipe) -> None:
        with replacing(self.recipe_file) as file:
            file.write_text(recipe.to_yaml(), encoding="utf-8")

    @contextmanager
    def locked(self, *, active: bool = True) -> Iterator[None]:
        """Keeps other processes from training in this folder within the block; the lock dies with the process.

        Args:
            active: False in all processes of a run but the first.

        Raises:
            UsageError: Another run is training in it.
        """
        if not active:
            yield
            return
        try:
            import fcntl
        except ImportError:  # Windows has no such lock; two trainings in one folder are then up to the user.
            yield
            return
        with (self.path / ".lock").open("w", encoding="utf-8") as file:
            try:
                # A record lock, unlike flock, is not inherited: loader workers that outlive a killed run hold nothing.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(f"another process is training in {self.path}; wait for it or stop it") from None
            except OSError:
                # Some network file systems know no locks.
                pass
            yield


def versions() -> dict[str, Any]:
    """Returns the versions of everything that computes, for a run's record."""
    found: dict[str, Any] = {
        "risctl": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    found["cuda"] = torch.version.cuda
    found["gpus"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    found["threads"] = torch.get_num_threads()
    return found


def next_free(name: str) -> Path:
    """Returns the folder that the next run of the recipe `name` gets."""
    number = 1
    while (RUNS / f"{name}-{number}").exists():
        number += 1
    return RUNS / f"{name}-{number}"


def _claimed_next(name: str) -> Path:
    while True:
        path = next_free(name)
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            # Another run took it in between.
            continue
        return path


def _claimed(out: Path) -> Path:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            f"{out} is there and not empty; name another --out, or go on with `risctl train --resume {out}`"
        )
    out.mkdir(parents=True, exist_ok=True)
    return out
