"""Provides the file object under the HDF5 library, for disks that may fill up."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class DeferredErrorFile(io.FileIO):
    """A file that keeps its first write error and pretends that later writes succeed.

    HDF5 cannot close a file that it cannot flush: it would hold a full disk's space until the process ends. The caller
    raises the error with `raise_failure` afterwards.
    """

    def __init__(self, file: Path | int, mode: str) -> None:
        """Opens a path or a file descriptor, with a mode of `io.FileIO`."""
        super().__init__(file, mode)
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes all of `data`, unless a write has failed before."""
        rest = memoryview(data).cast("B")
        length = len(rest)
        try:
            while len(rest) and self.failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failure = error
        return length

    def truncate(self, size: int | None = None) -> int:
        """Sets the file's length, unless a write has failed before."""
        try:
            if self.failure is None:
                return super().truncate(size)
        except OSError as error:
            self.failure = error
        return size or 0

    def raise_failure(self) -> None:
        """Raises the `OSError` that was kept, if there is one."""
        if self.failure is not None:
            raise self.failure
