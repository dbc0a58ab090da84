"""A pseudo-terminal, for what a command shows on a screen."""

from __future__ import annotations

import errno
import io
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from risctl.cli import console


class Screen:
    """A terminal that keeps all that is written to it.

    Attributes:
        terminal: The file descriptor that a command writes to.
    """

    def __init__(self) -> None:
        import tty

        self._reader, self.terminal = os.openpty()
        tty.setraw(self.terminal)  # what was written arrives as it was written
        self._found: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def written(self) -> bytes:
        """Close the terminal and return what was written to it."""
        os.close(self.terminal)
        self._thread.join(timeout=10)
        os.close(self._reader)
        return b"".join(self._found)

    def _read(self) -> None:
        while True:
            try:
                found = os.read(self._reader, 65536)
            except OSError as error:  # Linux says so where others say nothing
                assert error.errno == errno.EIO
                return
            if not found:
                return
            self._found.append(found)


@contextmanager
def stderr_on(screen: Screen) -> Iterator[None]:
    """Make `screen` the stderr of the commands that run within the block, as if risctl had been started there."""
    before = sys.stderr, console.stderr
    with io.TextIOWrapper(io.FileIO(os.dup(screen.terminal), "w"), encoding="utf-8", write_through=True) as sys.stderr:
        console.stderr = console._console()
        try:
            yield
        finally:
            opened = sys.stderr
            sys.stderr, console.stderr = before
            opened.flush()
