"""Run folders: what a training run leaves behind.

recipe.yaml        the recipe with every key written out
command.txt        one line for each start of the run
versions.json      of everything that computes, as of the last start
metrics.jsonl      one JSON object a line: `kind` is `train` or `eval`
log.txt            what was said
result.json        what the run came to, once it has ended
tensorboard/       where TensorBoard is installed
last.safetensors   where a resume goes on
previous.safetensors   the save before it, for when `last` is damaged; at first, the state before the first step
best.safetensors   the weights with the best figure
shards-<step>/     a save that is divided among processes (`train.parallel: fsdp`), until it is joined into `last`
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TextIO

import torch

from risctl import __version__
from risctl.checkpoints.loaded_model import BEST, LAST
from risctl.checkpoints.upgrade import upgraded_recipe
from risctl.errors import MachineError, RisctlError, UsageError
from risctl.files import as_error, replacing
from risctl.recipe.load import load_recipe
from risctl.recipe.schema import Recipe

RUNS = Path("runs")
PREVIOUS = "previous.safetensors"
_LOCK = ".lock"
_PACKAGES = ("torch", "torchvision", "accelerate", "safetensors", "transformers", "numpy", "h5py", "pillow", "pydantic")


class RunFolder:
    """The folder of one run."""

    SHARDS = "shards-"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.yaml"
        self.metrics_file = path / "metrics.jsonl"
        self.log_file = path / "log.txt"
        self.result_file = path / "result.json"
        self.best = path / BEST
        self.last = path / LAST
        self.previous = path / PREVIOUS

    @classmethod
    def create(cls, recipe: Recipe, *, out: Path | None = None) -> RunFolder:
        """Makes a new folder: `out`, or the first free `runs/<recipe>-<n>`.

        Raises:
            UsageError: `out` exists and is not empty, or another process has just made it.
            MachineError: The disk refuses.
        """
        try:
            path = _claimed_next(recipe.name) if out is None else _claimed(out)
        except OSError as error:
            raise MachineError(f"cannot make a run folder: {error}") from error
        run = cls(path)
        with run.locked():
            # Of two processes that find the folder empty, the second to lock it sees what the first wrote.
            _check_empty(path)
            try:
                run._write_recipe(recipe)
            except RisctlError:
                with contextlib.suppress(OSError):
                    (path / _LOCK).unlink()
                    path.rmdir()
                raise
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

    def recipe(self, overrides: Sequence[str] = ()) -> Recipe:
        """Returns the recipe of the run, also of one that risctl 0.1 wrote.

        Args:
            overrides: Changes such as `train.epochs=60`.

        Raises:
            RecipeError: It was edited and is no longer valid, or a change is not.
        """
        return load_recipe(self.recipe_file, overrides, upgrade=partial(upgraded_recipe, version=1))

    def has_begun(self) -> bool:
        """Returns whether there is anything of the run that a new beginning would replace."""
        with contextlib.suppress(OSError):
            if self.metrics_file.stat().st_size:
                return True
        return any(os.path.lexists(path) for path in (self.last, self.previous, self.best, *self.shards()))

    def shards(self) -> list[Path]:
        """Returns the saves that are divided among processes, in the order of their steps."""
        found = [path for path in self.path.glob(f"{self.SHARDS}*") if path.name.removeprefix(self.SHARDS).isdigit()]
        return sorted(found, key=lambda path: int(path.name.removeprefix(self.SHARDS)))

    @contextmanager
    def appending(self, path: Path) -> Iterator[TextIO]:
        """Opens a file of the run to append text to it.

        Raises:
            MachineError: The disk refuses.
        """
        try:
            with path.open("a", encoding="utf-8") as file:
                yield file
        except OSError as error:
            raise MachineError(str(as_error(error, path))) from error

    def note_start(self, recipe: Recipe, command: str) -> None:
        """Record how and with what the run is started or goes on; it has no result then."""
        try:
            self.result_file.unlink(missing_ok=True)
        except OSError as error:
            raise MachineError(str(as_error(error, self.result_file))) from error
        self._write_recipe(recipe)
        with self.appending(self.path / "command.txt") as file:
            file.write(f"{command}\n")
        with replacing(self.path / "versions.json") as file:
            file.write_text(json.dumps(versions(), indent=2) + "\n", encoding="utf-8")

    def note_result(self, result: Mapping[str, Any]) -> None:
        """Record what the run came to."""
        with replacing(self.result_file) as file:
            file.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")

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
            MachineError: The folder cannot be written.
        """
        if not active:
            yield
            return
        try:
            import fcntl
        except ImportError:  # Windows has no such lock; two trainings in one folder are then up to the user.
            yield
            return
        path = self.path / _LOCK
        try:
            # Neither emptied nor through a link: what lies there may be anything.
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise MachineError(
                f"{as_error(error, path)}; a run needs a folder that can be written: mend its permissions, or copy the "
                "run to another disk"
            ) from error
        with os.fdopen(handle, "r+b", buffering=0) as file:
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
    if out.exists():
        _check_empty(out)
    out.mkdir(parents=True, exist_ok=True)
    return out


def _check_empty(out: Path) -> None:
    """Raises `UsageError` unless `out` is a folder with nothing in it but, perhaps, the lock of one who gave up."""
    if not out.is_dir() or any(one.name != _LOCK for one in out.iterdir()):
        raise UsageError(
            f"{out} is there and not empty; name another --out, or go on with `risctl train --resume {out}`"
        )
