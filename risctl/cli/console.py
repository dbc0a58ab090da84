"""Output of the commands: results on stdout, messages and progress on stderr, progress bars in a terminal only.

A command calls `say` for messages on the way and `result` for what it was run for. Nothing else writes to stdout, so
that a result is the same bytes in a terminal, a pipe and a file. Control characters of data are written out everywhere:
`result`, `say`, `warn` and `fail` see to it for whole texts, in which newlines and tabs stay; `table` and `line_of` for
cells, and `result` for lines, of which these would break the shape.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.text import Text

from risctl.cli.streams import escaped, escaped_json

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

T = TypeVar("T")


def _console() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


stderr = _console()

_LAYOUT = "\n\t"
_shown_bars: list[Progress] = []


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
    stderr.print(Text(escaped(message, keep=_LAYOUT)))


def warn(message: str) -> None:
    """Prints a warning on stderr."""
    stderr.print(Text(f"warning: {escaped(message, keep=_LAYOUT)}", style="yellow"))


def fail(message: str) -> None:
    """Prints an error on stderr, even with --quiet."""
    print(f"error: {escaped(message, keep=_LAYOUT)}", file=sys.stderr, flush=True)


def result(text: str | Sequence[str], *, data: Any, as_json: bool) -> None:
    """Prints the result of the command on stdout.

    Args:
        text: The result for a person: a text, or lines, of which each is one.
        data: The result for a program.
        as_json: Whether `data` is printed, as JSON, instead of `text`.

    Raises:
        ClosedOutputError: Nobody reads stdout any more.
        MachineError: The disk that stdout goes to is full.
    """
    if as_json:
        shown = _json(data)
    elif isinstance(text, str):
        shown = escaped(text, keep=_LAYOUT)
    else:
        shown = "\n".join(escaped(line, keep="\t") for line in text)
    if not shown:
        return
    # On the same screen, the bar makes room for the result. Never through rich, which would wrap lines.
    hidden = _shown_bars[-1] if _shown_bars and sys.stdout.isatty() else None
    if hidden is not None:
        hidden.stop()
    try:
        print(shown, flush=True)
    finally:
        if hidden is not None:
            hidden.start()


def _json(data: Any) -> str:
    """Returns JSON that any encoding of stdout can hold."""
    unicode = (getattr(sys.stdout, "encoding", None) or "").lower().startswith("utf")
    return escaped_json(json.dumps(data, ensure_ascii=not unicode, allow_nan=False))


def line_of(cells: Iterable[str]) -> str:
    """Returns cells as one line, separated by tabs. A tab or newline of a cell is written out."""
    return "\t".join(map(escaped, cells))


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = ()) -> str:
    """Returns rows of cells as aligned columns.

    Args:
        rows: The rows, all of the same length.
        right: The columns that are aligned to the right.
    """
    shown = [[escaped(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    lines = []
    for row in shown:
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
    with _counting_bar() as bar:
        if bar is None:
            yield from items
        else:
            yield from bar.track(items, total=total, description=escaped(label))


@contextmanager
def counting(label: str) -> Iterator[Callable[[int, int | None], None]]:
    """Yields a callback that moves a progress bar on stderr, in a terminal only; it takes (done, total or None)."""
    with _counting_bar() as bar:
        if bar is None:
            yield lambda done, total: None
            return
        task = bar.add_task(escaped(label), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def bars(columns: Callable[[], Sequence[ProgressColumn]]) -> Iterator[Progress | None]:
    """Shows progress bars on stderr within the block.

    Args:
        columns: Makes their columns; called only if there are to be bars, for rich takes a while to import.

    Yields:
        The bars, or None: outside a terminal, with --quiet, and while others are shown.
    """
    if _shown_bars or not shows_bars():
        yield None
        return
    from rich.progress import Progress

    # Results go to stdout past the bars; whatever a library writes to stderr goes above them.
    shown = Progress(*columns(), console=stderr, transient=True, redirect_stdout=False)
    _shown_bars.append(shown)
    try:
        with shown:
            yield shown
    finally:
        _shown_bars.remove(shown)


def shows_bars() -> bool:
    """Returns whether progress is shown: stderr is a terminal that can move its cursor, and --quiet is not given."""
    return sys.stderr.isatty() and stderr.is_interactive and not stderr.quiet


def hide_bars() -> None:
    """Takes the bars off the screen; for the error that ends a command."""
    for shown in _shown_bars:
        shown.stop()


def _counting_bar() -> AbstractContextManager[Progress | None]:
    def columns() -> Sequence[ProgressColumn]:
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                speed = task.finished_speed or task.speed
                return Text(f"{speed:.3g}/s" if speed else "")

        text = TextColumn("{task.description}", markup=False)
        return text, BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn()

    return bars(columns)
