"""Defines what readers of formats give: objects with their phrases, and what is wrong with a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.data.formats.annotated import PHRASES
from risctl.errors import DataError
from risctl.json_text import parse_json
from risctl.vision.rle import RLE

MaskOf = Callable[[int, int], RLE]
"""Gives a mask for the height and width of its image, in pixels. Raises `DataError` if it cannot be read."""

_MAX_BYTES = 2**31


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundObject:
    """An object of an image, or a phrase of nothing that is there.

    Attributes:
        image: Its file, below the folder of images, with forward slashes.
        phrases: What is said of it; none of an object that is only there.
        mask: Gives its mask; None where nothing is there.
        category: Its class, None if that is not known.
        image_id: A number of the image's own, None without one.
        size: The (height, width) that the file states of the image, None if it states none.
        may_be_empty: Whether a mask without a pixel says that nothing is there, as in results of a model; else it is a
            problem.
        file: The file that has it, below the folder that is read; empty where one file has all.
        line: Its line there, from 1.
    """

    image: str
    phrases: tuple[str, ...]
    mask: MaskOf | None
    category: str | None = None
    image_id: int | None = None
    size: tuple[int, int] | None = None
    may_be_empty: bool = False
    file: str = ""
    line: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundProblem:
    """What cannot be used of a file.

    Attributes:
        message: What is wrong with it.
        file: The file, below the folder that is read; empty where one file has all.
        line: The line, from 1.
    """

    message: str
    file: str = ""
    line: int = 1


Found = FoundObject | FoundProblem
Reader = Callable[[Path, Path], Iterator[Found]]
"""Reads a format: takes its file or folder, and the folder of the images."""


def read_file(path: Path) -> bytes:
    """Returns the content of a file. Raises `DataError` if it cannot be read, or has 2 GB and more."""
    try:
        if path.stat().st_size >= _MAX_BYTES:
            raise DataError(f"{path} has more than {_MAX_BYTES:,} bytes; write it in parts")
        return path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def read_json(path: Path) -> Any:
    """Returns the value of a JSON file. Raises `DataError` if it is none."""
    try:
        return parse_json(read_file(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error


def phrase_rows(folder: Path) -> Iterator[tuple[int, dict[str, Any]] | FoundProblem]:
    """Yields the rows of `phrases.jsonl` with their lines, nothing where the folder has none."""
    path = folder / PHRASES
    if not path.exists():
        return
    for number, line in enumerate(read_file(path).split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
            if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
                raise ValueError("expected an object with file_name and phrases")
            if not _is_texts(row.get("phrases")):
                raise ValueError("phrases: expected a list of texts")
        except ValueError as error:
            yield FoundProblem(message=str(error), file=PHRASES, line=number)
        else:
            yield number, row


def texts_of(value: Any) -> tuple[str, ...]:
    """Returns the phrases of a text that has one a line."""
    return tuple(line.strip() for line in str(value or "").splitlines() if line.strip())


def one_line(text: str) -> str:
    """Returns a phrase for a field whose lines are phrases."""
    return " ".join(text.splitlines()) if len(text.splitlines()) > 1 else text


def image_below(images: Path, name: str) -> str | None:
    """Returns the file below `images` that a path or an address of another machine names, by as much of it as fits.

    Args:
        images: The folder of images.
        name: The path, with forward slashes.

    Returns:
        The path from `images`; None if there is no such file.
    """
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    for start in range(len(parts)):
        inner = "/".join(parts[start:])
        try:
            if (images / inner).is_file():
                return inner
        except (OSError, ValueError):
            return None
    return None


def images_by_stem(images: Path) -> dict[str, str]:
    """Returns the image files below a folder by their paths without ending."""
    from risctl.vision.images import is_image_name

    found: dict[str, str] = {}
    for folder, _, names in os.walk(images):
        below = os.path.relpath(folder, images).replace(os.sep, "/")
        for name in sorted(names):
            if is_image_name(name):
                path = name if below == "." else f"{below}/{name}"
                found.setdefault(path.rpartition(".")[0], path)
    return found


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
