"""Reads pieces of a file at any place, from several threads and from forked processes."""

from __future__ import annotations

import errno
import os
import stat
import threading
from io import FileIO
from pathlib import Path


class RandomAccessFile:
    """A file that is read by offset, without a position that threads or processes could share.

    `os.pread` does that where it exists. Windows lacks it: there a lock is held while the position is set and used, and
    a forked process opens the file again. The tests run that branch on Linux; Windows itself is untested.
    """

    def __init__(self, path: Path) -> None:
        """Opens `path`. Raises `OSError` if it cannot be read."""
        self.path = path.absolute()
        self._open()

    def _open(self) -> None:
        # Opening a pipe would wait for its other end, and a device has no size.
        mode = self.path.stat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        self._file = FileIO(self.path)
        self._lock = threading.Lock()
        self._process = os.getpid()

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def closed(self) -> bool:
        """Whether the file was closed."""
        return self._file.closed

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def read(self, offset: int, length: int) -> bytes:
        """Returns `length` bytes from `offset` on, fewer where the file ends."""
        if hasattr(os, "pread"):
            data = os.pread(self._file.fileno(), length, offset)
        else:
            data = self._seek_and_read(offset, length)
        # One call returns at most some 2 GB on Linux.
        if data and len(data) < length:
            data += self.read(offset + len(data), length - len(data))
        return data

    def _seek_and_read(self, offset: int, length: int) -> bytes:
        if self._process != os.getpid():
            # Forked: the position is shared with the parent, and the lock may be held by a thread that is not here.
            self._open()
        with self._lock:
            self._file.seek(offset)
            return self._file.read(length)
