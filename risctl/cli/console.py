"""Output of the commands: results on stdout, messages and progress on stderr, progress bars in a terminal only.

A command calls `say` for messages on the way and `result` for what it was run for.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
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
    """Silences `say`, `warn` and progress within the block; errors are still shown."""
    before = stderr.quiet
    stderr.quiet = quiet
    try:
        yield
    finally:
        stderr.quiet = before


def say(message: str) -> None:
    """Prints a message on stderr."""
    stderr.print(message, markup=False)


def warn(message: str) -> None:
    """Prints a warning on stderr."""
    stderr.print(f"warning: {message}", style="yellow", markup=False)


def fail(message: str) -> None:
    """Prints an error on stderr, even with --quiet."""
    print(f"error: {message}", file=sys.stderr)


def result(text: str, *, data: Any, as_json: bool) -> None:
    """Prints the result of the command on stdout.

    Args:
        text: The result for a person.
        data: The result for a program.
        as_json: Whether `data` is printed, as JSON, instead of `text`.
    """
    shown = json.dumps(data, ensure_ascii=False, allow_nan=False) if as_json else text
    if not shown:
        return
    try:
        print(shown, flush=True)
    except BrokenPipeError:
        # `risctl ... | head` is no error; the interpreter would complain again when it flushes stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Returns rows of cells as aligned columns.

    Args:
        rows: The rows, all of the same length.
        right: The columns that are aligned to the right.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def progress(items: Iterable[T], *, label: str, total: int | None = None) -> Iterator[T]:
    """Yields `items` with a progress bar on stderr; without one outside a terminal."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    if not stderr.is_terminal or stderr.quiet:
        yield from items
        return
    with _bar() as bar:
        yield from bar.track(items, total=total, description=label)


@contextmanager
def counting(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yields a callback that moves a progress bar on stderr, in a terminal only; it takes (done, total or None)."""
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
