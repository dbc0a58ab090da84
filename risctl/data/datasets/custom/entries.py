"""Reads the entries of a JSON Lines file or of a JSON document, each with its line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from risctl.data.datasets.custom.issues import Issues, Location
from risctl.data.json_scan import Scanner
from risctl.errors import DataError

LONGEST_LINE = 2**26
"""Bytes of a line at most."""

Progress = Callable[[int, int | None], None]
"""Called with (done, total or None)."""

_MARK = b"\xef\xbb\xbf"

Entry = tuple[Location, dict[str, Any]]
"""A place and the object that begins there."""


def read(path: Path) -> bytes:
    """Returns the file's bytes, without a byte order mark. Raises `DataError` if it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return data.removeprefix(_MARK)


def is_document(path: Path) -> bool:
    """Returns whether the file is one JSON document: by its suffix, else unless its first line is an entry.

    Raises:
        DataError: The file cannot be read.
    """
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return False
    with _opened(path) as file:
        first = b""
        while not first.strip() and (line := file.readline(LONGEST_LINE)):
            first = line.removeprefix(_MARK)
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return True
    return not isinstance(value, dict) or not {"image", "file_name"} & value.keys() or "images" in value


def lines(path: Path, issues: Issues, *, progress: Progress | None = None) -> Iterator[Entry]:
    """Yields the objects of JSON Lines, one line in memory at a time; other lines are reported, empty ones skipped.

    Args:
        path: The file.
        issues: What is wrong with lines is added here.
        progress: Called with the bytes that are read and those that there are.

    Raises:
        DataError: The file cannot be read.
    """
    with _opened(path) as file:
        length = os.fstat(file.fileno()).st_size
        number = 0
        while line := file.readline(LONGEST_LINE + 1):
            number += 1
            location = Location(number)
            if len(line) > LONGEST_LINE:
                issues.problem(location, f"is longer than {LONGEST_LINE:,} bytes; the rest of the file is not read")
                return
            if number == 1:
                line = line.removeprefix(_MARK)
            entry = _entry(line.rstrip(b"\n"), location, issues) if line.strip() else None
            if entry is not None:
                yield location, entry
            if progress:
                progress(file.tell(), length)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error


def _entry(line: bytes, location: Location, issues: Issues) -> dict[str, Any] | None:
    """Returns the object of a line; None, and a problem, if it is none."""
    try:
        entry = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        issues.problem(location, f"not UTF-8 text (at byte {error.start + 1}); save the file as UTF-8")
    except json.JSONDecodeError as error:
        issues.problem(location, f"not valid JSON: {error.msg} (at character {error.colno})")
    except (ValueError, RecursionError) as error:
        issues.problem(location, f"not valid JSON: {error}")
    else:
        if isinstance(entry, dict):
            return entry
        issues.problem(location, f"expected an object in braces, got {_short(entry)}")
    return None


def document(data: bytes, issues: Issues) -> dict[str, list[Entry]]:
    """Returns the objects in each list of a JSON object; other entries are reported, what is no list is skipped.

    A file that is not valid JSON to its end is reported with the line, and nothing is returned.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        issues.problem(Location(data.count(b"\n", 0, error.start) + 1), "not UTF-8 text; save the file as UTF-8")
        return {}
    try:
        return _lists(text, issues)
    except json.JSONDecodeError as error:
        issues.problem(Location(error.lineno), f"not valid JSON: {error.msg} (at character {error.colno})")
    except (ValueError, RecursionError) as error:
        issues.problem(Location(1), f"not valid JSON: {error}")
    return {}


def _lists(text: str, issues: Issues) -> dict[str, list[Entry]]:
    """Walks the outer object and its lists entry by entry, to know the line of each."""
    found: dict[str, list[Entry]] = {}
    scanner = Scanner(text)
    if not scanner.at("{"):
        if text.strip():
            json.loads(text)
            issues.problem(Location(1), 'expected an object of lists ("images", "annotations", ...) in braces')
        else:
            issues.problem(Location(1), "the file is empty")
        return {}
    for key in scanner.members():
        if not scanner.at("["):
            scanner.value()
            continue
        found[key] = []
        for number, line in enumerate(scanner.items()):
            location = Location(line, f"{key}[{number}]")
            entry = scanner.value()
            if isinstance(entry, dict):
                found[key].append((location, entry))
            else:
                issues.problem(location, f"expected an object in braces, got {_short(entry)}")
    scanner.end()
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
