"""How commands speak: results on stdout, progress and logs on stderr, progress bars in a terminal only.

A command calls `say` for what a person may want to know on the way, `result` once for what it was asked for.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def quiet_if(quiet: bool) -> Iterator[None]:
    """Silence `say`, `warn` and progress within the block; errors still show."""
    before = stderr.quiet
    stderr.quiet = quiet
    try:
        yield
    finally:
        stderr.quiet = before


def say(message: str) -> None:
    """Print a line for a person on stderr."""
    stderr.print(message, markup=False)


def warn(message: str) -> None:
    """Print a warning on stderr."""
    stderr.print(f"warning: {message}", style="yellow", markup=False)


def fail(message: str) -> None:
    """Print an error on stderr, even when quiet."""
    print(f"error: {message}", file=sys.stderr)


def result(text: str, *, data: Any, as_json: bool) -> None:
    """Print the command's result on stdout: `data` as JSON if asked for, else `text`."""
    shown = json.dumps(data, ensure_ascii=False, allow_nan=False) if as_json else text
    if not shown:
        return
    try:
        print(shown, flush=True)
    except BrokenPipeError:
        # `risctl ... | head` is no error; the interpreter would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def progress(items: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` with a progress bar on stderr; without one outside a terminal."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not stderr.is_terminal or stderr.quiet:
        yield from items
        return
    with _bar() as bar:
        yield from bar.track(items, total=total, description=label)


@contextmanager
def counting(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yield a function to call with (done, total or None): it moves a progress bar on stderr, in a terminal only."""
    if not stderr.is_terminal or stderr.quiet:
        yield lambda done, total: None
        return
    with _bar() as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _bar() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=stderr, transient=True)
