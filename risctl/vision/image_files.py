"""Finds the image files that a path, a folder or a pattern names."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from risctl.errors import DataError, nearest
from risctl.vision.images import is_image_name


def find_images(spec: str) -> list[Path]:
    """Returns the images that `spec` names, sorted by name.

    Args:
        spec: A folder, whose files with an image's suffix are taken (no hidden files and none of its subfolders); a
            pattern with `*`, `?`, `[…]` or `**`, of whose matches the same are taken; or one file, whatever its name.

    Raises:
        DataError: Nothing is found.
    """
    path = Path(spec)
    try:
        exists, folder = path.exists(), path.is_dir()
    except (OSError, ValueError) as error:
        raise DataError(f"no picture at {spec!r}: {error}") from error
    if folder:
        return _images_among(sorted(path.iterdir()), what=f"the folder {path} holds")
    if exists:
        return [path]
    if is_pattern(spec):
        # Path.glob takes no absolute patterns.
        found = sorted(Path(match) for match in glob.glob(spec, recursive=True))  # noqa: PTH207
        return _images_among(found, what=f"the pattern {spec} matches")
    near = nearest(path.name, (one.name for one in path.parent.iterdir())) if path.parent.is_dir() else None
    raise DataError(f"no picture at {spec}" + (f"; did you mean {path.with_name(near)}?" if near else ""))


def is_pattern(spec: str) -> bool:
    """Returns whether `spec` is a pattern rather than the name of a file."""
    return glob.has_magic(spec)


def _images_among(paths: Sequence[Path], *, what: str) -> list[Path]:
    images = [path for path in paths if is_image_name(path.name) and not path.name.startswith(".") and path.is_file()]
    if not images:
        raise DataError(f"{what} no pictures (files named .jpg, .png, .webp and so on)")
    return images
