"""Standard output and error of the commands.

Whatever a name or a phrase holds can be written, in every encoding; a stdout that is closed or full is an error like
any other; and a message that cannot be shown ends nothing.
"""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from risctl.errors import ClosedOutputError, MachineError

# What a terminal takes for a command, what turns text around or breaks its lines, and bytes that are no text. Compiled
# when it is needed first, which help does not.
_UNSAFE = "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_SHORT = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_CLOSED = (errno.EPIPE, errno.EBADF)


def escaped(text: str, *, keep: str = "") -> str:
    r"""Returns a text with its control characters written out, such as `\x1b`: a terminal shows them and obeys none.

    Args:
        text: Any text. A byte of a file name that is no UTF-8 is written out as `\xff` is.
        keep: The control characters that stay: newline and tab, where they are not from data.
    """
    return re.sub(_UNSAFE, lambda match: match[0] if match[0] in keep else _written_out(match[0]), text)


def escaped_json(text: str) -> str:
    """Returns JSON that means the same with its control characters written out as JSON does it."""
    return re.sub(_UNSAFE, lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text)


def _written_out(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python holds the byte of a name that is no UTF-8
        code -= 0xDC00
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


class _Stream:
    """A standard stream whose failures are handled here; in all else the stream itself."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a text."""
        try:
            return int(self._stream.write(text))
        except OSError as error:
            self._failed(error)
            return len(text)

    def flush(self) -> None:
        """Writes what is buffered."""
        try:
            self._stream.flush()
        except OSError as error:
            self._failed(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _failed(self, error: OSError) -> None:
        # Python flushes what is left when it ends, and would complain once more.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


class Stdout(_Stream):
    """Standard output: a result that cannot be written is an error of the command's.

    Not an `OSError`: typer ends in silence at a broken pipe.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._error: MachineError | ClosedOutputError | None = None

    def write(self, text: str) -> int:
        """Writes a text.

        Raises:
            ClosedOutputError: Nobody reads it any more.
            MachineError: The disk is full, or fails.
        """
        if self._stream is None:
            self._error = ClosedOutputError("stdout is closed; the result has nowhere to go")
        if self._error is not None:
            raise self._error
        return super().write(text)

    def flush(self) -> None:
        """Writes what is buffered. Raises as `write` does."""
        if self._error is not None:
            raise self._error
        if self._stream is not None:
            super().flush()

    def __getattr__(self, name: str) -> Any:
        if self._stream is None and name == "isatty":
            return lambda: False
        return super().__getattr__(name)

    def _failed(self, error: OSError) -> None:
        super()._failed(error)
        if error.errno in _CLOSED or (os.name == "nt" and error.errno == errno.EINVAL):
            self._error = ClosedOutputError("stdout was closed before all was printed")
        else:
            self._error = MachineError(f"cannot write the result to stdout: {error.strerror}")
        raise self._error from error


class Stderr(_Stream):
    """Standard error: a message that cannot be written is lost, and the work goes on."""


@contextmanager
def standard_streams() -> Iterator[None]:
    """Puts `Stdout` and `Stderr` in the place of the standard streams within the block."""
    before = sys.stdin, sys.stdout, sys.stderr
    _fill_closed()
    for stream in (sys.stdout, sys.stderr):
        # "熊" is written as \u718a where the encoding has no such sign.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    nowhere = Path(os.devnull)
    sys.stdin = sys.stdin or nowhere.open(encoding="utf-8")
    sys.stdout = Stdout(sys.stdout)
    sys.stderr = Stderr(sys.stderr or nowhere.open("w", encoding="utf-8"))
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


@contextmanager
def escaped_logs() -> Iterator[None]:
    """Writes out the control characters of what libraries log within the block: it may be from a stranger's file."""
    import logging

    before = logging.getLogRecordFactory()

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = before(*args, **kwargs)
        with suppress(Exception):  # a message that does not fit its arguments is logging's to report
            made.msg, made.args = escaped(made.getMessage(), keep="\n\t"), None
        return made

    logging.setLogRecordFactory(record)
    try:
        yield
    finally:
        logging.setLogRecordFactory(before)


def _fill_closed() -> None:
    """Opens the null device in the place of standard streams that the caller closed (`>&-`).

    The next file that is opened would take their numbers, and a library that prints would write into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
