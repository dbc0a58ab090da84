"""The entries of a JSON Lines file or of a JSON document, each with its line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from risctl.data.datasets.own.findings import Findings, Place
from risctl.errors import DataError

Entry = tuple[Place, dict[str, Any]]
"""A place and the object that begins there."""

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def read(path: Path) -> bytes:
    """Return the file's bytes, without a byte order mark. Raises `DataError` if it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return data.removeprefix(b"\xef\xbb\xbf")


def is_document(path: Path, data: bytes) -> bool:
    """Say whether the file is one JSON document: by its suffix, else by whether its first line is an object whole."""
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return False
    try:
        first = json.loads(data.lstrip().split(b"\n", 1)[0])
    except (ValueError, RecursionError):
        return True
    return not isinstance(first, dict) or "image" not in first


def lines(data: bytes, findings: Findings) -> Iterator[Entry]:
    """Yield the objects of JSON Lines; lines that are none are noted, empty ones are passed over."""
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        place = Place(number)
        try:
            entry = json.loads(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            findings.problem(place, f"no UTF-8 text (at byte {error.start + 1}); save the file as UTF-8")
        except json.JSONDecodeError as error:
            findings.problem(place, f"no JSON: {error.msg} (at character {error.colno})")
        except (ValueError, RecursionError) as error:
            findings.problem(place, f"no JSON: {error}")
        else:
            if isinstance(entry, dict):
                yield place, entry
            else:
                findings.problem(place, f"expected an object in braces, got {_short(entry)}")


def document(data: bytes, findings: Findings) -> dict[str, list[Entry]]:
    """Return the objects in each list of a JSON object; what is no list is left out, what is no object is noted.

    A file that is no JSON to its end is noted with the line, and nothing is returned.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        findings.problem(Place(data.count(b"\n", 0, error.start) + 1), "no UTF-8 text; save the file as UTF-8")
        return {}
    try:
        return _Document(text, findings).lists()
    except json.JSONDecodeError as error:
        findings.problem(Place(error.lineno), f"no JSON: {error.msg} (at character {error.colno})")
    except (ValueError, RecursionError) as error:
        findings.problem(Place(1), f"no JSON: {error}")
    return {}


class _Document:
    """Walks the outer object and its lists itself, lest the lines of their entries be lost."""

    def __init__(self, text: str, findings: Findings) -> None:
        self.text, self.findings = text, findings
        self.place, self._line, self._counted = 0, 1, 0

    def lists(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        if not self._takes("{"):
            if self.text.strip():
                _DECODER.decode(self.text)
                self.findings.problem(Place(1), 'expected an object of lists ("images", "annotations", ...) in braces')
            else:
                self.findings.problem(Place(1), "the file is empty")
            return {}
        if not self._takes("}"):
            while True:
                key = self._value()
                if not isinstance(key, str):
                    raise self._error("Expecting property name enclosed in double quotes")
                self._expect(":")
                if self._takes("["):
                    found[key] = self._entries(key)
                else:
                    self._value()
                if not self._takes(","):
                    break
            self._expect("}")
        self._skip()
        if self.place < len(self.text):
            raise self._error("Extra data")
        return found

    def _entries(self, key: str) -> list[Entry]:
        entries: list[Entry] = []
        number = 0
        if self._takes("]"):
            return entries
        while True:
            self._skip()
            place = Place(self._line_here(), f"{key}[{number}]")
            number += 1
            entry = self._value()
            if isinstance(entry, dict):
                entries.append((place, entry))
            else:
                self.findings.problem(place, f"expected an object in braces, got {_short(entry)}")
            if not self._takes(","):
                break
        self._expect("]")
        return entries

    def _value(self) -> Any:
        self._skip()
        value, self.place = _DECODER.raw_decode(self.text, self.place)
        return value

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.place)
        self.place = match.end() if match else self.place

    def _takes(self, sign: str) -> bool:
        self._skip()
        if self.text.startswith(sign, self.place):
            self.place += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if not self._takes(sign):
            raise self._error(f"Expecting {sign!r} delimiter")

    def _line_here(self) -> int:
        self._line += self.text.count("\n", self._counted, self.place)
        self._counted = self.place
        return self._line

    def _error(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self.text, self.place)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
