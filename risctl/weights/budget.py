"""Bounds what readers of foreign files allocate by the size of the file.

Trained weights hardly compress, so a file that describes many times its own size is a mistake or a trap: sparse or
compressed HDF5 datasets, compressed archives, one block of numbers under many names, tensors that repeat one number.
"""

from __future__ import annotations

from pathlib import Path

from risctl.errors import CheckpointError

EXPANSION = 8
"""A file may hold arrays of at most so many times its own size."""

SMALL = 16 * 2**20
"""Bytes that the arrays of any file may take, however small it is."""


class Budget:
    """The bytes that the arrays of one file may take in memory.

    Args:
        path: The file.
        size: Its size, where `path` is only the first of several files.
    """

    def __init__(self, path: Path, *, size: int | None = None) -> None:
        self.path = path
        self.size = path.stat().st_size if size is None else size
        self.limit = max(SMALL, EXPANSION * self.size)
        self._spent = 0

    def spend(self, size: int) -> None:
        """Counts `size` bytes that are about to be allocated.

        Raises:
            CheckpointError: All bytes together are more than the file may hold.
        """
        self._spent += size
        if self._spent > self.limit:
            raise CheckpointError(
                f"{self.path} is refused: it has {self.size:,} bytes and describes arrays of more than "
                f"{self.limit:,}; a file of weights may hold {EXPANSION} times its own size. Get the file again from "
                f"its publisher, or save it without compression"
            )


def check_regular(path: Path, *, what: str) -> None:
    """Raises `CheckpointError` unless `path` is a file that can be read to its end (no device, no pipe).

    Args:
        path: The file.
        what: What it is to be, for the message.
    """
    if not path.exists():
        raise CheckpointError(f"expected {what} at {path}, found no file")
    if not path.is_file():
        raise CheckpointError(f"expected {what} at {path}, got {'a folder' if path.is_dir() else 'a device or pipe'}")
