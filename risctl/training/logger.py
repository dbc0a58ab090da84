"""Logs a run to metrics.jsonl, log.txt, its trackers and a progress callback."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from risctl.errors import MachineError
from risctl.files import replacing
from risctl.recipe.schema import Recipe
from risctl.training.callback import ProgressCallback
from risctl.training.run_folder import RunFolder
from risctl.training.trackers import Trackers


class Logger:
    """Logs a run. With `active=False` (all processes but the first) it does nothing."""

    def __init__(self, run: RunFolder, callback: ProgressCallback, *, active: bool = True) -> None:
        self.run = run
        self.callback = callback
        self.active = active
        self._trackers: Trackers | None = None

    def rewind(self, recipe: Recipe, step: int, *, evaluated: int) -> str | None:
        """Opens the recipe's trackers, and removes what a resumed run writes again.

        Args:
            recipe: The recipe.
            step: The step after which entries are removed.
            evaluated: The step after which evaluations are removed.

        Returns:
            What to log about entries that are lost, if any are.
        """
        if not self.active:
            return None
        note = None
        if self.run.metrics_file.exists():
            if not self.run.metrics_file.is_file():
                raise MachineError(f"{self.run.metrics_file} is no regular file; a run writes its metrics there")
            lines = self._lines()
            entries = [_place(line) for line in lines]
            kept = [
                line
                for line, entry in zip(lines, entries, strict=True)
                if entry is not None and entry[1] <= (evaluated if entry[0] == "eval" else step)
            ]
            # The last line of a killed run may be cut.
            if damaged := sum(entry is None for entry in entries[:-1]):
                note = f"metrics.jsonl is damaged: {damaged} lines that cannot be read were left out"
            with replacing(self.run.metrics_file) as file:
                file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        elif step:
            note = f"metrics.jsonl is missing: it begins anew after step {step}"
        self._trackers = Trackers(recipe, self.run.path, step=step)
        return note

    def line(self, text: str, *, routine: bool = False) -> None:
        """Appends `text` to log.txt and passes it to the callback."""
        if self.active:
            with self.run.appending(self.run.log_file) as file:
                file.write(f"{text}\n")
            self.callback.line(text, routine=routine)

    def record(self, kind: str, step: int, values: Mapping[str, Any], *, scalars: Mapping[str, float]) -> None:
        """Appends an entry to metrics.jsonl, and sends `scalars` to the trackers.

        Args:
            kind: `train` or `eval`.
            step: The step that the values belong to.
            values: The entry.
            scalars: What the trackers plot.
        """
        if not self.active:
            return
        with self.run.appending(self.run.metrics_file) as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}, allow_nan=False) + "\n")
        if self._trackers is not None:
            for line in self._trackers.log({f"{kind}/{name}": value for name, value in scalars.items()}, step=step):
                self.line(line)

    def step(self, step: int, total: int, *, loss: float, seconds_left: float | None) -> None:
        """Tells the callback that `step` of `total` steps are done."""
        if self.active:
            self.callback.step(step, total, loss=loss, seconds_left=seconds_left)

    def evaluating(self, done: int, total: int) -> None:
        """Tells the callback that `done` of `total` images of an evaluation are done."""
        if self.active:
            self.callback.evaluating(done, total)

    def close(self) -> None:
        """Ends the trackers."""
        if self._trackers is not None:
            self._trackers.close()

    def _lines(self) -> list[str]:
        return self.run.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines()


def _place(line: str) -> tuple[str, int] | None:
    """Returns the kind and the step of an entry; None if it cannot be read."""
    try:
        entry = json.loads(line)
        return str(entry["kind"]), int(entry["step"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def duration(seconds: float) -> str:
    """Returns `seconds` in two units at most: `42 s`, `3 min 5 s`, `2 h 7 min`, `1 d 4 h`."""
    whole = round(seconds)
    for size, name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"
