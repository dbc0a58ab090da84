"""Shows the progress of training: bars in a terminal, else a line every so many steps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from risctl.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID


class TrainingProgress:
    """A `risctl.training.logger.ProgressCallback`. In a terminal, bars replace the routine lines of the log."""

    def __init__(self) -> None:
        self._opened = ExitStack()
        self._bars: Progress | None = None
        self._training: TaskID | None = None
        self._evaluation: TaskID | None = None

    def __enter__(self) -> TrainingProgress:
        self._bars = self._opened.enter_context(console.bars(_columns))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def line(self, text: str, *, routine: bool = False) -> None:
        """Prints a line of the log."""
        if self._bars is None or not routine:
            console.say(text)

    def step(self, step: int, total: int, *, loss: float, seconds_left: float | None) -> None:
        """Moves the bar of the steps."""
        if self._bars is None:
            return
        if self._training is None:
            self._training = self._bars.add_task("training", total=total, note="")
        if self._evaluation is not None:
            self._bars.remove_task(self._evaluation)
            self._evaluation = None
        from risctl.training.logger import duration

        left = "" if seconds_left is None else f", {duration(seconds_left)} left"
        self._bars.update(self._training, completed=step, note=f"loss {loss:.4g}{left}")

    def evaluating(self, done: int, total: int) -> None:
        """Moves the bar of the evaluation."""
        if self._bars is None:
            return
        if self._evaluation is None:
            self._evaluation = self._bars.add_task("evaluating", total=total, note="")
        self._bars.update(self._evaluation, completed=done)


def _columns() -> Sequence[ProgressColumn]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

    return TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}")
