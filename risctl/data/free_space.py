"""Checks the free space of a disk before anything large is written to it."""

from __future__ import annotations

import shutil
from pathlib import Path

from risctl.errors import MachineError


def free_bytes(path: Path) -> int:
    """Returns the free space where `path` is or would be made, in bytes."""
    absolute = path.absolute()
    existing = next(folder for folder in (absolute, *absolute.parents) if folder.is_dir())
    return shutil.disk_usage(existing).free


def require_space(path: Path, needed: int, *, what: str, advice: str = "") -> None:
    """Raises `MachineError` unless the disk of `path` has `needed` bytes free.

    Args:
        path: A file or folder, which need not exist yet.
        needed: How many bytes are about to be written.
        what: What needs them, for the message.
        advice: What to do, appended to the message.
    """
    free = free_bytes(path)
    if needed > free:
        raise MachineError(
            f"{what} needs {needed / 1e9:.1f} GB and the disk of {path} has {free / 1e9:.1f} GB free{advice}"
        )
