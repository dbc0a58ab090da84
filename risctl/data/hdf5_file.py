"""A file under the HDF5 library on a disk that may fill up."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any


class DeferredErrorFile(io.FileIO):
    """The file under HDF5: it keeps the first error of writing, and takes what comes after for written.

    HDF5 cannot close a file that it cannot flush: it would hold a full disk's space until the process ends.
    """

    def __init__(self, file: Path | int, mode: str) -> None:
        """Open a path, or a file by its number; modes are those of `io.FileIO`."""
        super().__init__(file, mode)
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        """Write all of `data`, unless writing has failed before."""
        rest = memoryview(data).cast("B")
        length = len(rest)
        try:
            while len(rest) and self.failure is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.failure = error
        return length

    def truncate(self, size: int | None = None) -> int:
        """Set the file's length, unless writing has failed before."""
        try:
            if self.failure is None:
                return super().truncate(size)
        except OSError as error:
            self.failure = error
        return size or 0

    def raise_failure(self) -> None:
        """Raise the `OSError` that was kept, if there was one."""
        if self.failure is not None:
            raise self.failure
