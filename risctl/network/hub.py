"""Gets files from the Hugging Face hub within bounds: `huggingface_hub` itself has none on length or on slowness."""

from __future__ import annotations

import contextlib
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

MAX_ANSWERS = 64 * 2**20
"""Bytes that all answers of the hub that are no files may have: lists of files, redirects, errors."""

_FILES = (200, 206)
_COMPRESSED = 1000
"""What a byte of a compressed answer counts: so many it can become."""

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


class _Answers:
    """What the hub answers that is no file. The library reads it to its end, wherever that is."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._clients: list[Any] = []
        self._answers: list[Any] = []
        self._thread: threading.Thread | None = None
        self._given_up = False

    def watch(self) -> None:
        """Has the library's HTTP client tell of its answers; it makes a new one after a broken connection."""
        from huggingface_hub import get_session

        self._thread = self._thread or threading.current_thread()
        client = get_session()
        if all(client is not known for known in self._clients):
            client.event_hooks["response"].append(self._note)
            self._clients.append(client)

    def _note(self, response: Any) -> None:
        if threading.current_thread() is not self._thread:
            return
        if self._given_up:  # the library tries again what was ended
            raise HubBoundError("it was given up")
        if response.status_code not in _FILES or "/api/" in response.url.path:
            self._answers.append(response)

    def check(self) -> None:
        """Raises `HubBoundError`, and ends the answer, if there is more than the bound."""
        if self._clients:
            self.watch()
        count = sum(answer.num_bytes_downloaded * self._weight(answer) for answer in self._answers)
        if count > self._max_bytes:
            raise HubBoundError(f"its answers beside files have more than {self._max_bytes:,} bytes")

    @staticmethod
    def _weight(answer: Any) -> int:
        return 1 if answer.headers.get("Content-Encoding", "identity") == "identity" else _COMPRESSED

    def close(self) -> None:
        """Watches no longer, once the work is done."""
        for client in self._clients:
            with contextlib.suppress(ValueError):
                client.event_hooks["response"].remove(self._note)

    def give_up(self) -> None:
        """Ends answers that are not complete, so that nothing reads them any more."""
        self._given_up = True
        for answer in self._answers:
            with contextlib.suppress(Exception):  # another thread reads it
                answer.close()


class HubSession:
    """Gets files of the hub; given to the function that `within_bounds` runs."""

    def __init__(self, progress: _Progress, answers: _Answers | None = None) -> None:
        self._progress = progress
        self._answers = answers or _Answers(MAX_ANSWERS)

    def dataset_files(self, repository: str) -> list[str]:
        """Returns the names of the files of a dataset."""
        from huggingface_hub import HfApi

        self._answers.watch()
        return list(HfApi(headers={"Accept-Encoding": "identity"}).list_repo_files(repository, repo_type="dataset"))

    def file(self, repository: str, name: str, **options: Any) -> Path:
        """Returns a file of a repository in the hub's cache, downloaded if need be."""
        from huggingface_hub import hf_hub_download

        self._answers.watch()
        self._progress.begin_file()
        # Older versions of the library show no progress to others; there the time alone is bounded.
        if "tqdm_class" in inspect.signature(hf_hub_download).parameters:
            options["tqdm_class"] = _bar_of(self._progress)
        return Path(hf_hub_download(repository, name, **options))


def hub_file(repository: str, name: str) -> Path:
    """Returns a file of a model in the hub's cache, downloaded if need be. Raises what `huggingface_hub` does."""
    return within_bounds(lambda session: session.file(repository, name))


def within_bounds(
    work: Callable[[HubSession], Made],
    *,
    patience: float = PATIENCE,
    max_bytes: int | None = None,
    max_answers: int = MAX_ANSWERS,
) -> Made:
    """Runs `work`, which asks the hub, and returns what it makes.

    Args:
        work: What is run, in a thread of its own.
        patience: Seconds within which the hub must bring something.
        max_bytes: The length beyond which a file is refused; None takes `largest_download`.
        max_answers: Bytes that all answers that are no files may have.

    Raises:
        HubBoundError: The hub sends too much or too slowly.
        Exception: What `work` raises.
    """
    progress = _Progress(largest_download() if max_bytes is None else max_bytes)
    answers = _Answers(max_answers)
    made: list[Made] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            made.append(work(HubSession(progress, answers)))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="hub", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL)
            answers.check()
            if thread.is_alive() and time.monotonic() - progress.at > patience:
                raise HubBoundError(f"it brought nothing within {patience:g} seconds")
        answers.close()
    finally:
        progress.given_up = True
        if thread.is_alive():
            answers.give_up()
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
