"""Defines how files of predictions are read: their entries first, without masks, then one mask at a time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from risctl.errors import DataError
from risctl.vision.rle import RLE

Position = Any
"""Where an entry lies in its source, as the source itself counts."""

FoundMask = RLE | np.ndarray | None
"""A mask as it was written: an RLE, an array (H, W) of bools or of probabilities, or None for "nothing predicted"."""

_BLOCK = 2**20
_TIMES, _FEW_PIXELS = 16, 2**22
_NAME = re.compile(r"(\d{1,18})(?:_(\d{1,9}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One prediction of a file, without its mask.

    Attributes:
        position: Where it lies in its source.
        fields: What names the expression: some of `sent_id`, `ref_id`, `sent_index`, `image_id`, `text`.
        score: The confidence that came with it; None without one.
        says_none: Whether it says that there is no target; None if it does not say.
    """

    position: Position
    fields: dict[str, int | str]
    score: float | None = None
    says_none: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenEntry:
    """An entry that cannot be read.

    Attributes:
        where: Which one, such as "line 12".
        problem: What is wrong with it.
    """

    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


class UnreadableMaskError(Exception):
    """A mask cannot be read; the message says why."""


class PredictionSource(Protocol):
    """A file or folder of predictions.

    Attributes:
        path: The file or folder.
        kind: What it is, in words.
    """

    path: Path
    kind: str

    def entries(self) -> Iterator[Entry | BrokenEntry]:
        """Yields all entries in order."""

    def mask(self, position: Position, *, height: int, width: int) -> FoundMask:
        """Returns the mask of the entry at `position`.

        Args:
            position: That of an entry.
            height: Height in pixels of the image that it is of; polygons are drawn at this size.
            width: Its width.

        Raises:
            UnreadableMaskError: It is damaged, or no mask.
        """

    def where(self, position: Position) -> str:
        """Returns which entry is meant, in words."""

    def close(self) -> None:
        """Closes its files."""


def check_size(size: tuple[int, int], *, height: int, width: int) -> None:
    """Checks the size of a mask before it is decoded: a few bytes can stand for gigabytes.

    Args:
        size: Its (height, width).
        height: Height of the image that it is of.
        width: Its width.

    Raises:
        UnreadableMaskError: It has more than 4 megapixels, and more than 16 times those of its image.
    """
    if size[0] * size[1] > max(_TIMES * height * width, _FEW_PIXELS):
        raise UnreadableMaskError(f"it has {size[0]}x{size[1]} pixels (height x width), its image {height}x{width}")


def named_entry(name: str, position: Position) -> Entry | None:
    """Returns the entry of a file or array called `SENTID` or `REFID_INDEX`; None for another name."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    if match[2] is None:
        return Entry(position=position, fields={"sent_id": int(match[1])})
    return Entry(position=position, fields={"ref_id": int(match[1]), "sent_index": int(match[2])})


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file, or that of the names and contents of a folder's files, in order of names."""
    whole = hashlib.sha256()
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        if path.is_dir():
            whole.update(file.relative_to(path).as_posix().encode(errors="surrogateescape") + b"\0")
        try:
            with file.open("rb") as opened:
                while block := opened.read(_BLOCK):
                    whole.update(block)
        except OSError as error:
            raise DataError(f"cannot read {file}: {error.strerror or error}") from error
    return whole.hexdigest()
