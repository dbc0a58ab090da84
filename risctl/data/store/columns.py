"""Reads the columns of a store, nothing of which is used unchecked.

A store has one CRC-32 of each column. Columns of numbers are compared with theirs when they are first read, then they
stay in memory. Columns of texts and masks stay in the file: their first use reads them once, compares the whole with
its sum, and takes a sum of every row on the way, with which each later read is compared. So a file that is damaged
while it is in use is noticed as well, for 4 bytes of memory a row.
"""

from __future__ import annotations

import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np

from risctl.data.random_access import RandomAccessFile
from risctl.data.store import checks, schema
from risctl.data.store.schema import Layout
from risctl.errors import DataError

_PIECE_BYTES = 4 * 2**20
"""A column is summed in pieces of so many bytes."""

TOKENS = "tokens"


class Columns:
    """The columns of an open store. All methods raise `DataError`, which names the store, for what is damaged."""

    def __init__(self, file: RandomAccessFile, path: Path) -> None:
        """Reads from `file`, which messages call `path`; `layout` is set once it is read."""
        self._file, self._path = file, path
        self.layout: Layout
        self._numbers: dict[str, np.ndarray] = {}
        self._edges: dict[str, np.ndarray] = {}
        self._sums: dict[str, np.ndarray] = {}

    def read(self, offset: int, length: int) -> bytes:
        """Returns `length` bytes from `offset` on."""
        if length == 0:
            return b""
        if self._file.closed:
            raise DataError(f"the store {self._path} is closed")
        data = self._file.read(offset, length)
        if len(data) != length:
            raise DataError(f"{self._path} was cut short while in use; prepare or copy the store again")
        return data

    def damaged(self, where: str) -> DataError:
        """Returns the error to raise for what is damaged."""
        return DataError(
            f"{self._path} is damaged ({where}); prepare or copy the store again "
            f"(`risctl prepare verify` lists what is damaged)"
        )

    def numbers(self, name: str) -> np.ndarray:
        """Returns a column of `schema.columns()`, read-only; it then stays in memory."""
        found = self._numbers.get(name)
        if found is None:
            column = self.layout.columns[name]
            data = self.read(column.offset, column.length)
            if zlib.crc32(data) != column.crc32:
                raise self.damaged(f"in {name}")
            found = np.frombuffer(data, dtype=column.kind).reshape(column.shape)
            try:
                checks.check(name, found, layout=self.layout, numbers=self.numbers)
            except ValueError as error:
                raise self.damaged(str(error)) from error
            self._numbers[name] = found
        return found

    def text(self, name: str, row: int) -> str:
        """Returns the text of a row."""
        return self._decoded(self._row(name, row), name=name, row=row)

    def texts(self, name: str) -> list[str]:
        """Returns a text column in one read."""
        column = self.layout.columns[f"{name}/blob"]
        blob = self.read(column.offset, column.length)
        if zlib.crc32(blob) != column.crc32:
            raise self.damaged(f"in {name}")
        offsets = self.numbers(f"{name}/offsets").tolist()
        return [
            self._decoded(blob[start:stop], name=name, row=row) for row, (start, stop) in enumerate(pairwise(offsets))
        ]

    def tokens(self, sentence: int) -> tuple[str, ...]:
        """Returns the tokens of a sentence's row in one read."""
        first, stop = self.numbers("sentences/tokens/offsets")[sentence : sentence + 2].tolist()
        if first == stop:
            return ()
        data = self._row(TOKENS, sentence)
        offsets = (self.numbers("tokens/offsets")[first : stop + 1]).tolist()
        return tuple(
            self._decoded(data[start - offsets[0] : end - offsets[0]], name=TOKENS, row=first + row)
            for row, (start, end) in enumerate(pairwise(offsets))
        )

    def ragged(self, name: str, row: int) -> np.ndarray:
        """Returns the values of a row of a ragged column."""
        offsets = self.numbers(f"{name}/offsets")
        return self.numbers(f"{name}/values")[offsets[row] : offsets[row + 1]]

    def _decoded(self, data: bytes, *, name: str, row: int) -> str:
        try:
            return schema.unpack_text(data, name=name)
        except ValueError as error:
            raise self.damaged(f"row {row} of {name} is no text") from error

    def _row(self, name: str, row: int) -> bytes:
        """Returns the bytes of a row, compared with their sum; of tokens, those of a sentence."""
        sums = self._sums.get(name)
        if sums is None:
            sums = self._sums[name] = self._summed(name, row)
        edges = self._edges[name]
        start, stop = int(edges[row]), int(edges[row + 1])
        data = self.read(self.layout.columns[f"{name}/blob"].offset + start, stop - start)
        if zlib.crc32(data) != sums[row]:
            raise self.damaged(f"in row {row} of {name}, since it was opened")
        return data

    def _summed(self, name: str, wanted: int) -> np.ndarray:
        """Returns the CRC-32 of every row of a text column whose whole has the sum that was written."""
        edges = self.numbers(f"{name}/offsets")
        if name == TOKENS:
            edges = edges[self.numbers("sentences/tokens/offsets")]
        self._edges[name] = edges
        column = self.layout.columns[f"{name}/blob"]
        sums = np.zeros(len(edges) - 1, dtype=np.uint32)
        total = row = 0
        while row < len(sums):
            # As many rows as fit into a piece, but at least one.
            stop = max(row + 1, int(np.searchsorted(edges, edges[row] + _PIECE_BYTES, side="right")) - 1)
            places = (edges[row : stop + 1] - edges[row]).tolist()
            data = memoryview(self.read(column.offset + int(edges[row]), places[-1]))
            total = zlib.crc32(data, total)
            sums[row:stop] = [zlib.crc32(data[start:end]) for start, end in pairwise(places)]
            row = stop
        if total != column.crc32:
            raise self.damaged(f"in {name}, of which row {wanted} is wanted")
        return sums
