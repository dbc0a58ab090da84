"""Defines the callbacks of a run, which receive its progress."""

from __future__ import annotations

from typing import Protocol


class ProgressCallback(Protocol):
    """Is called while a run goes on."""

    def line(self, text: str, *, routine: bool = False) -> None:
        """Is called with each line of the log.

        Args:
            text: The line.
            routine: Whether it is one of those that come every `train.log_every` steps.
        """

    def step(self, step: int, total: int, *, loss: float, seconds_left: float | None) -> None:
        """Is called when `step` of `total` steps are done."""

    def evaluating(self, done: int, total: int) -> None:
        """Is called when `done` of `total` images of an evaluation are done."""


class NullCallback:
    """A `ProgressCallback` that does nothing."""

    def line(self, text: str, *, routine: bool = False) -> None:
        """Does nothing."""

    def step(self, step: int, total: int, *, loss: float, seconds_left: float | None) -> None:
        """Does nothing."""

    def evaluating(self, done: int, total: int) -> None:
        """Does nothing."""
