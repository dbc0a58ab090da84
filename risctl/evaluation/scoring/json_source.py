"""Reads predictions from COCO results (a JSON list) and from JSON Lines, one entry in memory at a time."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from risctl.errors import DataError
from risctl.evaluation.scoring.source import BrokenEntry, Entry, FoundMask, UnreadableMaskError, check_size
from risctl.json_text import parse_json
from risctl.vision import rle

_IDS = ("sent_id", "ref_id", "sent_index", "image_id")
_OTHER_NAMES = {
    "sentence_id": "sent_id",
    "sentence": "text",
    "phrase": "text",
    "expression": "text",
    "image": "file_name",
}
_BLOCK = 2**22
_LONGEST = 2**26
"""Bytes of an entry at most: more than a run-length encoding of an image of a hundred megapixels takes."""
_SPACE = re.compile(r"[ \t\r\n]*")
_BETWEEN = re.compile(r"[ \t\r\n]*([,\]])[ \t\r\n]*")

Position = tuple[int, int, int]
"""Offset and length in bytes, and the number of the line (JSON Lines) or of the entry (a list)."""


class JsonSource:
    """COCO results, or JSON Lines whose objects are like them; `is_list` says which.

    An entry holds what names its expression, a `segmentation` (RLE of either kind, polygons, or null where nothing is
    predicted), a `score` if it has one, and `no_target` (true or false) if the tool decides that apart from the mask.
    """

    def __init__(self, path: Path) -> None:
        """Opens a file. Raises `DataError` if it cannot be read."""
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from error
        self.is_list = starts_with_list(self._file)
        self.kind = "COCO results (a JSON list)" if self.is_list else "JSON Lines"

    def entries(self) -> Iterator[Entry | BrokenEntry]:
        """Yields all entries in order; see `PredictionSource.entries`."""
        for position, text in self._texts():
            try:
                yield self._entry(position, text)
            except ValueError as error:
                yield BrokenEntry(where=self.where(position), problem=str(error))

    def mask(self, position: Position, *, height: int, width: int) -> FoundMask:
        """Returns the mask of an entry; see `PredictionSource.mask`."""
        self._file.seek(position[0])
        try:
            segmentation = parse_json(self._file.read(position[1]))["segmentation"]
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableMaskError("the file has changed since it was opened") from error
        return mask_of(segmentation, height=height, width=width)

    def where(self, position: Position) -> str:
        """Returns which entry is meant, in words."""
        return f"{'entry' if self.is_list else 'line'} {position[2]:,}"

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _entry(self, position: Position, text: bytes) -> Entry:
        try:
            record = parse_json(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"it is not JSON ({error.msg} at character {error.pos + 1:,})") from None
        except ValueError as error:
            raise ValueError(f"it is not JSON ({error})") from None
        if not isinstance(record, dict):
            raise ValueError(f"expected an object, got {text[:40].decode(errors='replace')!r}")
        return self._checked(position, record)

    def _checked(self, position: Position, record: dict[str, Any]) -> Entry:
        """Returns the entry of an object. Raises `ValueError` if it is none of a prediction."""
        if "segmentation" not in record:
            raise ValueError("it has no segmentation; null stands for 'nothing predicted'")
        return checked_entry(position, record)

    def _texts(self) -> Iterator[tuple[Position, bytes]]:
        self._file.seek(0)
        return self._listed() if self.is_list else self._lines()

    def _lines(self) -> Iterator[tuple[Position, bytes]]:
        offset = number = 0
        while line := self._file.readline(_LONGEST + 1):
            number += 1
            if len(line) > _LONGEST:
                raise DataError(f"{self.path}, line {number:,}: it is longer than {_LONGEST:,} bytes")
            position = (offset, len(line), number)
            offset += len(line)
            if line.strip():
                yield position, line
                self._file.seek(offset)

    def _listed(self) -> Iterator[tuple[Position, bytes]]:
        """Yields the entries of a list, read block by block.

        Bytes are read as Latin-1, so that one byte is one character and places are the file's: what is not ASCII
        stands inside of strings.
        """
        decoder = json.JSONDecoder()
        text, base, number = self._block(0, _BLOCK), 0, 0
        place = text.index("[") + 1
        while True:
            place = _after(_SPACE, text, place)
            if number == 0 and text.startswith("]", place):
                return self._check_end(text, base, place + 1)
            try:
                _, end = decoder.raw_decode(text, place)
                match = _BETWEEN.match(text, end)
            except (ValueError, RecursionError):
                match = None
            if (match is None or match.end() == len(text)) and len(text) - place <= _LONGEST:
                more = self._block(base + len(text), max(_BLOCK, len(text) - place))
                if more:
                    text, base, place = text[place:] + more, base + place, 0
                    continue
            if match is None:
                raise DataError(
                    f"{self.path}, entry {number + 1:,}: the list is cut off or is not JSON from here on; write the "
                    "file again"
                )
            number += 1
            yield (base + place, end - place, number), text[place:end].encode("latin-1")
            place = match.end()
            if match.group(1) == "]":
                return self._check_end(text, base, place)

    def _block(self, offset: int, length: int) -> str:
        self._file.seek(offset)
        return self._file.read(length).decode("latin-1")

    def _check_end(self, text: str, base: int, place: int) -> None:
        if text[place:].strip() or self._block(base + len(text), _BLOCK).strip():
            raise DataError(f"{self.path}: something follows the list; a file of results holds one list")


def checked_entry(position: Any, record: dict[str, Any]) -> Entry:
    """Returns the entry of a prediction as an object. Raises `ValueError` if a value is none that it can have.

    `no_target`, or its contrary `matched` (as `risctl label` writes it), says whether there is a target.
    """
    matched = record.get("matched")
    none = record.get("no_target", None if matched is None else not matched)
    if none is not None and not isinstance(none, bool):
        raise ValueError(f"no_target is true or false, got {none!r:.40}")
    return Entry(position=position, fields=_fields(record), score=score_of(record), says_none=none)


def mask_of(segmentation: Any, *, height: int, width: int) -> rle.RLE | None:
    """Returns the mask that a segmentation describes; see `PredictionSource.mask`."""
    if segmentation is None:
        return None
    try:
        size = segmentation.get("size") if isinstance(segmentation, dict) else None
        if size is not None and _is_size(size):
            check_size((size[0], size[1]), height=height, width=width)
            height, width = size
        return rle.from_segmentation(segmentation, height=height, width=width)
    except DataError as error:
        raise UnreadableMaskError(str(error)) from error


def starts_with_list(file: BinaryIO) -> bool:
    """Returns whether the first sign of a file is that of a JSON list."""
    file.seek(0)
    first = file.read(4096).lstrip()[:1]
    file.seek(0)
    return first == b"["


def _after(pattern: re.Pattern[str], text: str, place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match else place


def _is_size(size: Any) -> bool:
    return isinstance(size, list) and len(size) == 2 and all(type(side) is int and 0 < side < 2**16 for side in size)


def _fields(record: dict[str, Any]) -> dict[str, int | str]:
    fields: dict[str, int | str] = {}
    for name, value in record.items():
        known = _OTHER_NAMES.get(name, name)
        if known in _IDS:
            fields[known] = _whole(name, value)
        elif known == "text":
            if not isinstance(value, str):
                raise ValueError(f"{name} is a text, got {value!r:.40}")
            fields["text"] = value
        elif known == "file_name" and isinstance(value, str):
            fields["file_name"] = value
    return fields


def _whole(name: str, value: Any) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19:
        return int(value)
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} is a whole number, got {value!r:.40}")
    return value


def score_of(record: dict[str, Any]) -> float | None:
    """Returns the score of a prediction, None without one. Raises `ValueError` if it is no number."""
    value = record.get("score")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"score is a number, got {value!r:.40}")
    return float(value)
