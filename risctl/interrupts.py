"""Handles Ctrl-C and SIGTERM so that work in progress is finished and saved first; a second signal stops at once."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

# Those of them that the operating system has.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name))


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived: a scheduler takes the machine back, or a time limit is over.

    A kind of `KeyboardInterrupt`, so that whatever tidies up after Ctrl-C tidies up after this as well.
    """

    exit_code = 143


def raise_on_sigterm() -> None:
    """Makes SIGTERM raise `Terminated` in the main thread, as Ctrl-C raises `KeyboardInterrupt`.

    Forked processes end at once as they would without this. A SIGTERM that the caller had ignored stays ignored.
    """
    global _forks_are_watched
    if signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        return
    signal.signal(signal.SIGTERM, _raise_terminated)
    if hasattr(os, "register_at_fork") and not _forks_are_watched:
        _forks_are_watched = True
        os.register_at_fork(before=_hold_sigterm, after_in_parent=_release_sigterm, after_in_child=_end_on_sigterm)


_forks_are_watched = False


def _raise_terminated(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _hold_sigterm() -> None:
    # Python forgets the signals that reach a child while it is forked, so a pool that ends it then would wait for ever.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})


def _release_sigterm() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


def _end_on_sigterm() -> None:
    if signal.getsignal(signal.SIGTERM) is _raise_terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _release_sigterm()


class Interrupts:
    """A context manager that notes the first signal and raises at the second.

    What it raises is `KeyboardInterrupt`, or `Terminated` for SIGTERM. Outside the main thread, where Python delivers
    no signals, it changes nothing.

    Attributes:
        requested: Whether a signal has arrived.
        terminated: Whether it was SIGTERM.
    """

    def __init__(self) -> None:
        self.requested = False
        self.terminated = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def raise_if_requested(self) -> None:
        """Raises what the signal stands for, if one has arrived."""
        if self.requested:
            raise self._error()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.requested
        self.requested = True
        self.terminated = self.terminated or number == signal.SIGTERM
        if again:
            raise self._error()

    def _error(self) -> KeyboardInterrupt:
        return Terminated() if self.terminated else KeyboardInterrupt()
