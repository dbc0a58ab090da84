"""Parses a JSON text step by step, with one entry of a long list in memory at a time and its line number known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class Scanner:
    """A position in a JSON text. Errors are those of `json.loads`, such as `json.JSONDecodeError`."""

    def __init__(self, text: str) -> None:
        """Starts at the beginning of `text`."""
        self.text = text
        self._position, self._line, self._counted = 0, 1, 0

    def at(self, sign: str) -> bool:
        """Returns whether `sign` comes next."""
        self._skip()
        return self.text.startswith(sign, self._position)

    def value(self) -> Any:
        """Parses the next value and returns it."""
        self._skip()
        try:
            value, self._position = _DECODER.raw_decode(self.text, self._position)
        except RecursionError:
            raise self._error("Nested too deeply") from None
        return value

    def members(self) -> Iterator[str]:
        """Yields each key of an object; the caller parses its value before the next one."""
        self._take("{")
        if not self.at("}"):
            while True:
                if not self.at('"'):
                    raise self._error("Expecting property name enclosed in double quotes")
                key = self.value()
                self._take(":")
                yield key
                if not self.at(","):
                    break
                self._take(",")
        self._take("}")

    def items(self) -> Iterator[int]:
        """Yields the line number of each entry of a list; the caller parses the entry before the next one."""
        self._take("[")
        if not self.at("]"):
            while True:
                self._skip()
                yield self._line_here()
                if not self.at(","):
                    break
                self._take(",")
        self._take("]")

    def end(self) -> None:
        """Raises an error unless the text is at its end."""
        self._skip()
        if self._position < len(self.text):
            raise self._error("Extra data")

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self._position)
        self._position = match.end() if match else self._position

    def _take(self, sign: str) -> None:
        if not self.at(sign):
            raise self._error(f"Expecting {sign!r} delimiter")
        self._position += len(sign)

    def _line_here(self) -> int:
        self._line += self.text.count("\n", self._counted, self._position)
        self._counted = self._position
        return self._line

    def _error(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self.text, self._position)
