"""Gets files from the Hugging Face hub within bounds: `huggingface_hub` itself has none on length or on slowness."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from risctl.network.largest import largest_download

Made = TypeVar("Made")

PATIENCE = 1000.0
"""Seconds within which the hub must bring something: the library hands on 10 MB at a time, so 10 kB a second."""

_POLL = 0.05


class HubBoundError(Exception):
    """The hub sends too much or too slowly."""


class _Progress:
    """What the thread that downloads and the one that waits know of each other."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._file = 0
        self.given_up = False
        self.at = time.monotonic()

    def begin_file(self) -> None:
        """Begins a file."""
        self.at, self._file = time.monotonic(), 0

    def advance(self, count: int) -> None:
        """Counts bytes of the file. Raises `HubBoundError` beyond the bound, or if nobody waits any more."""
        self.at = time.monotonic()
        self._file += count
        if self._file > self._max_bytes:
            raise HubBoundError(f"it sent more than {self._max_bytes:,} bytes")
        if self.given_up:
            raise HubBoundError("it was given up")


class HubSession:
    """Gets files of the hub; given to the function that `within_bounds` runs."""

    def __init__(self, progress: _Progress) -> None:
        self._progress = progress

    def file(self, repository: str, name: str, **options: Any) -> Path:
        """Returns a file of a repository in the hub's cache, downloaded if need be."""
        from huggingface_hub import hf_hub_download

        self._progress.begin_file()
        # Older versions of the library show no progress to others; there the time alone is bounded.
        if "tqdm_class" in inspect.signature(hf_hub_download).parameters:
            options["tqdm_class"] = _bar_of(self._progress)
        return Path(hf_hub_download(repository, name, **options))


def hub_file(repository: str, name: str) -> Path:
    """Returns a file of a model in the hub's cache, downloaded if need be. Raises what `huggingface_hub` does."""
    return within_bounds(lambda session: session.file(repository, name))


def within_bounds(
    work: Callable[[HubSession], Made], *, patience: float = PATIENCE, max_bytes: int | None = None
) -> Made:
    """Runs `work`, which asks the hub, and returns what it makes.

    Args:
        work: What is run, in a thread of its own.
        patience: Seconds within which the hub must bring something.
        max_bytes: The length beyond which a file is refused; None takes `largest_download`.

    Raises:
        HubBoundError: The hub sends too much or too slowly.
        Exception: What `work` raises.
    """
    progress = _Progress(largest_download() if max_bytes is None else max_bytes)
    made: list[Made] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            made.append(work(HubSession(progress)))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="hub", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL)
            if thread.is_alive() and time.monotonic() - progress.at > patience:
                raise HubBoundError(f"it brought nothing within {patience:g} seconds")
    finally:
        progress.given_up = True
    if errors:
        raise errors[0]
    return made[0]


def _bar_of(progress: _Progress) -> type:
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        """The library's own bar, which tells how far the file is."""

        def update(self, n: float | None = 1) -> bool | None:
            progress.advance(int(n or 0))
            shown: bool | None = super().update(n)
            return shown

    return Bar
