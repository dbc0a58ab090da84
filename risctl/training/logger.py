"""Logs a run to metrics.jsonl, log.txt, TensorBoard and a progress callback."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any

from risctl.errors import MachineError
from risctl.files import replacing
from risctl.training.callback import ProgressCallback
from risctl.training.run_folder import RunFolder


class Logger:
    """Logs a run. With `active=False` (all processes but the first) it does nothing."""

    def __init__(self, run: RunFolder, callback: ProgressCallback, *, active: bool = True) -> None:
        self.run = run
        self.callback = callback
        self.active = active
        self._board: Any = None

    def rewind(self, step: int, *, evaluated: int) -> str | None:
        """Removes entries after `step`, and evaluations after `evaluated`, which a resumed run writes again.

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
        # TensorBoard is a convenience: a broken installation of it must not stop a run.
        with contextlib.suppress(Exception):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.run.path / "tensorboard"), purge_step=step + 1)
        return note

    def line(self, text: str, *, routine: bool = False) -> None:
        """Appends `text` to log.txt and passes it to the callback."""
        if self.active:
            with self.run.appending(self.run.log_file) as file:
                file.write(f"{text}\n")
            self.callback.line(text, routine=routine)

    def record(self, kind: str, step: int, values: Mapping[str, Any], *, scalars: Mapping[str, float]) -> None:
        """Appends an entry to metrics.jsonl, and `scalars` to TensorBoard.

        Args:
            kind: `train` or `eval`.
            step: The step that the values belong to.
            values: The entry.
            scalars: What TensorBoard plots.
        """
        if not self.active:
            return
        with self.run.appending(self.run.metrics_file) as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}, allow_nan=False) + "\n")
        if self._board is not None:
            try:
                for name, value in scalars.items():
                    self._board.add_scalar(f"{kind}/{name}", value, step)
                self._board.flush()
            except Exception as error:  # whatever it is, metrics.jsonl has the values
                self._board = None
                self.line(f"TensorBoard's files are written no further: {error}")

    def step(self, step: int, total: int, *, loss: float, seconds_left: float | None) -> None:
        """Tells the callback that `step` of `total` steps are done."""
        if self.active:
            self.callback.step(step, total, loss=loss, seconds_left=seconds_left)

    def evaluating(self, done: int, total: int) -> None:
        """Tells the callback that `done` of `total` images of an evaluation are done."""
        if self.active:
            self.callback.evaluating(done, total)

    def close(self) -> None:
        """Closes TensorBoard's file."""
        if self._board is not None:
            with contextlib.suppress(Exception):
                self._board.close()

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
