"""Which picture files a path, a folder or a pattern means."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from risctl.errors import DataError, nearest
from risctl.vision.images import is_picture_name


def find_pictures(spec: str) -> list[Path]:
    """Return the pictures that `spec` means, by name.

    A folder means the files in it that are named like pictures (not those of its folders, nor hidden ones); a pattern
    (`*`, `?`, `[…]`, `**` for folders within folders) means what it matches of these; anything else is one file, and
    is returned as it is if it exists. Raises `DataError` if that is nothing.
    """
    path = Path(spec)
    try:
        exists, folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        raise DataError(f"no picture at {spec!r}: {error}") from error
    if folder:
        return _pictures_of(sorted(path.iterdir()), what=f"the folder {path} holds")
    if exists:
        return [path]
    if is_pattern(spec):
        # Path.glob takes no absolute patterns.
        found = sorted(Path(match) for match in glob.glob(spec, recursive=True))  # noqa: PTH207
        return _pictures_of(found, what=f"the pattern {spec} matches")
    near = nearest(path.name, (one.name for one in path.parent.iterdir())) if path.parent.is_dir() else None
    raise DataError(f"no picture at {spec}" + (f"; did you mean {path.with_name(near)}?" if near else ""))


def is_pattern(spec: str) -> bool:
    """Say whether `spec` is a pattern rather than the name of a file."""
    return glob.has_magic(spec)


def _pictures_of(paths: Sequence[Path], *, what: str) -> list[Path]:
    pictures = [
        path for path in paths if is_picture_name(path.name) and not path.name.startswith(".") and path.is_file()
    ]
    if not pictures:
        raise DataError(f"{what} no pictures (files named .jpg, .png, .webp and so on)")
    return pictures
