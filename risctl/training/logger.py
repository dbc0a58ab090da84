"""What a run says: metrics.jsonl, TensorBoard, log.txt, and a watcher who may be a person at a terminal."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from typing import Any, Protocol

from risctl.files import replacing
from risctl.training.run_folder import RunFolder


class ProgressCallback(Protocol):
    """Who looks on while a run goes."""

    def line(self, text: str, *, routine: bool = False) -> None:
        """Hear a line of the log; `routine`: one of those that come every `train.log_every` steps."""

    def step(self, step: int, total: int, *, loss: float, seconds_left: float | None) -> None:
        """Hear that `step` of `total` steps are done."""

    def evaluating(self, done: int, total: int) -> None:
        """Hear that `done` of `total` images of an evaluation are done."""


class NullCallback:
    """A `ProgressCallback` that does nothing."""

    def line(self, text: str, *, routine: bool = False) -> None:
        """Ignore it."""

    def step(self, step: int, total: int, *, loss: float, seconds_left: float | None) -> None:
        """Ignore it."""

    def evaluating(self, done: int, total: int) -> None:
        """Ignore it."""


class Logger:
    """Writes the record of a run. With `active=False` (all processes but the first) it writes nothing."""

    def __init__(self, run: RunFolder, callback: ProgressCallback, *, active: bool = True) -> None:
        self.run = run
        self.callback = callback
        self.active = active
        self._board: Any = None

    def rewind(self, step: int, *, evaluated: int) -> None:
        """Forget what was written after `step`, and evaluations after `evaluated`: the resumed run writes it again."""
        if not self.active:
            return
        if self.run.metrics_file.exists():
            kept = [line for line in self._lines() if _is_kept(line, step=step, evaluated=evaluated)]
            with replacing(self.run.metrics_file) as file:
                file.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        # TensorBoard is a convenience: a broken installation of it must not stop a run.
        with contextlib.suppress(Exception):
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.run.path / "tensorboard"), purge_step=step + 1)

    def line(self, text: str, *, routine: bool = False) -> None:
        """Say `text` and keep it in log.txt."""
        if self.active:
            with self.run.log_file.open("a", encoding="utf-8") as file:
                file.write(f"{text}\n")
            self.callback.line(text, routine=routine)

    def record(self, kind: str, step: int, values: Mapping[str, Any], *, scalars: Mapping[str, float]) -> None:
        """Append a line to metrics.jsonl, and `scalars` to TensorBoard."""
        if not self.active:
            return
        with self.run.metrics_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": kind, "step": step, **values}, allow_nan=False) + "\n")
        if self._board is not None:
            for name, value in scalars.items():
                self._board.add_scalar(f"{kind}/{name}", value, step)
            self._board.flush()

    def step(self, step: int, total: int, *, loss: float, seconds_left: float | None) -> None:
        """Tell the watcher how far the run is."""
        if self.active:
            self.callback.step(step, total, loss=loss, seconds_left=seconds_left)

    def evaluating(self, done: int, total: int) -> None:
        """Tell the watcher how far the evaluation is."""
        if self.active:
            self.callback.evaluating(done, total)

    def close(self) -> None:
        """Close what is open."""
        if self._board is not None:
            self._board.close()

    def _lines(self) -> list[str]:
        return self.run.metrics_file.read_text(encoding="utf-8", errors="replace").splitlines()


def _is_kept(line: str, *, step: int, evaluated: int) -> bool:
    try:
        entry = json.loads(line)
        return bool(entry["step"] <= (evaluated if entry["kind"] == "eval" else step))
    except (ValueError, KeyError, TypeError):
        # The last line of a killed run may be cut.
        return False


def duration(seconds: float) -> str:
    """Return `seconds` as a person would say it: `42 s`, `3 min 5 s`, `2 h 7 min`, `1 d 4 h`."""
    whole = round(seconds)
    for size, name, small, small_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"
