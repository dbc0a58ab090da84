"""Walking a JSON text step by step: one entry of a long list in memory at a time, and the line of each known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class Scanner:
    """A place in a JSON text. Errors are `json.JSONDecodeError`s, or others of `json`, as from `json.loads`."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._place, self._line, self._counted = 0, 1, 0

    def at(self, sign: str) -> bool:
        """Say whether `sign` comes next."""
        self._skip()
        return self.text.startswith(sign, self._place)

    def value(self) -> Any:
        """Take the value that comes next, and return it."""
        self._skip()
        value, self._place = _DECODER.raw_decode(self.text, self._place)
        return value

    def members(self) -> Iterator[str]:
        """Walk an object: yield each key; its value is to be taken before the next one is asked for."""
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
        """Walk a list: yield the line of each entry; it is to be taken before the next one is asked for."""
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
        """Raise an error if anything is left."""
        self._skip()
        if self._place < len(self.text):
            raise self._error("Extra data")

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self._place)
        self._place = match.end() if match else self._place

    def _take(self, sign: str) -> None:
        if not self.at(sign):
            raise self._error(f"Expecting {sign!r} delimiter")
        self._place += len(sign)

    def _line_here(self) -> int:
        self._line += self.text.count("\n", self._counted, self._place)
        self._counted = self._place
        return self._line

    def _error(self, message: str) -> json.JSONDecodeError:
        return json.JSONDecodeError(message, self.text, self._place)
