"""Reads the columns of a store, nothing of which is used unchecked.

A store has one CRC-32 of each column. Columns of numbers, and of texts and masks up to `KEPT_BYTES`, are compared with
theirs when they are first read, then they stay in memory. Longer ones stay in the file: their first use reads them
once, compares the whole with its sum, and takes a sum of every few rows on the way, with which each later read is
compared. So a file that is damaged while it is in use changes nothing that is read, or is noticed.

A large store holds the sums of every few rows itself (`index`): then a row is read and checked alone, and the first
sample of a million costs no more than any other.
"""

from __future__ import annotations

import zlib
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from risctl.data.random_access import RandomAccessFile
from risctl.data.store import checks, index, schema
from risctl.data.store.layout import Layout
from risctl.data.store.schema import TOKENS
from risctl.errors import DataError

KEPT_BYTES = 8 * 2**20
"""Texts and masks of so many bytes a column are kept in memory: the sentences of RefCOCO are 3 million."""

_FEW_READS = 64
"""A column of numbers that was read in pieces so often is read as a whole and stays in memory."""


class DamagedStoreError(DataError):
    """A store is damaged.

    Attributes:
        where: Which column and row, in words.
    """

    where = ""


class _Kept(NamedTuple):
    """A text column in memory.

    Attributes:
        data: Its bytes, which have the sum that was written.
        edges: Where each row begins, and where the last one ends, in bytes.
    """

    data: bytes
    edges: np.ndarray


class _Blocks(NamedTuple):
    """The blocks of a column.

    Attributes:
        rows: Rows of a block; the last one may have fewer.
        sums: The CRC-32 of each block.
        total: Rows of the column.
    """

    rows: int
    sums: np.ndarray
    total: int


class Columns:
    """The columns of an open store. All methods raise `DataError`, which names the store, for what is damaged."""

    def __init__(self, file: RandomAccessFile, path: Path) -> None:
        """Reads from `file`, which messages call `path`; `layout` is set once it is read."""
        self._file, self._path = file, path
        self.layout: Layout
        self._numbers: dict[str, np.ndarray] = {}
        self._texts: dict[str, _Blocks | _Kept] = {}
        self._indices: dict[str, _Blocks] = {}
        self._reads: dict[str, int] = {}

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

    def damaged(self, where: str) -> DamagedStoreError:
        """Returns the error to raise for what is damaged."""
        error = DamagedStoreError(
            f"{self._path} is damaged ({where}); prepare or copy the store again "
            f"(`risctl prepare verify` lists what is damaged)"
        )
        error.where = where  # no argument of its own, so that it crosses from a loader's process like any error
        return error

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

    def part(self, name: str, start: int, stop: int) -> np.ndarray:
        """Returns the rows `start` to `stop` - 1 of a column of numbers, read-only.

        Where the store has sums of a few rows each, and the column is not in memory yet, these rows alone are read and
        checked.
        """
        whole = self._numbers.get(name)
        if whole is None and name in self.layout.sums:
            self._reads[name] = self._reads.get(name, 0) + 1
            if self._reads[name] <= _FEW_READS:
                return self._part(name, start, stop)
        return (self.numbers(name) if whole is None else whole)[start:stop]

    def number(self, name: str, row: int) -> int:
        """Returns the number of a row of a column that has one a row."""
        return int(self.part(name, row, row + 1)[0])

    def _part(self, name: str, start: int, stop: int) -> np.ndarray:
        blocks, column = self._index(name), self.layout.columns[name]
        first = start // blocks.rows
        last = max(first + 1, -(-min(stop, blocks.total) // blocks.rows))
        begin, end = first * blocks.rows, min(last * blocks.rows, blocks.total)
        width = column.length // max(1, blocks.total)
        data = self.read(column.offset + begin * width, (end - begin) * width)
        for block in range(first, last):
            own = data[(block * blocks.rows - begin) * width : ((block + 1) * blocks.rows - begin) * width]
            if zlib.crc32(own) != blocks.sums[block]:
                raise self.damaged(f"in {name}, in rows {block * blocks.rows} and after")
        values = np.frombuffer(data, dtype=column.kind).reshape(-1, *column.shape[1:])
        try:
            checks.check(
                name, values, layout=self.layout, numbers=lambda other: self.part(other, begin, end), start=begin
            )
        except ValueError as error:
            raise self.damaged(f"{error}, from row {begin} on") from error
        return values[start - begin : stop - begin]

    def _index(self, name: str) -> _Blocks:
        """Returns the sums that the store holds of a column."""
        found = self._indices.get(name)
        if found is None:
            sums = self.layout.sums[name]
            data = self.read(sums.column.offset, sums.column.length)
            if zlib.crc32(data) != sums.column.crc32:
                raise self.damaged(f"in the sums of {name}")
            found = _Blocks(sums.rows, np.frombuffer(data, dtype="<u4"), self.layout.summed_rows(name))
            self._indices[name] = found
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
        first, stop = self.part("sentences/tokens/offsets", sentence, sentence + 2).tolist()
        if first == stop:
            return ()
        data = self._row(TOKENS, sentence)
        offsets = self.part("tokens/offsets", first, stop + 1).tolist()
        return tuple(
            self._decoded(data[start - offsets[0] : end - offsets[0]], name=TOKENS, row=first + row)
            for row, (start, end) in enumerate(pairwise(offsets))
        )

    def ragged(self, name: str, row: int) -> np.ndarray:
        """Returns the values of a row of a ragged column."""
        start, stop = self.part(f"{name}/offsets", row, row + 2).tolist()
        return self.part(f"{name}/values", start, stop) if start < stop else np.zeros(0, dtype=np.int64)

    def _decoded(self, data: bytes, *, name: str, row: int) -> str:
        try:
            return schema.unpack_text(data, name=name)
        except ValueError as error:
            raise self.damaged(f"row {row} of {name} is no text") from error

    def _row(self, name: str, row: int) -> bytes:
        """Returns the bytes of a row, compared with a sum; of tokens, those of a sentence."""
        blocks = self._texts.get(name)
        if blocks is None:
            blocks = self._texts[name] = self._opened(name, row)
        if isinstance(blocks, _Kept):
            start, stop = blocks.edges[row : row + 2].tolist()
            return blocks.data[start:stop]
        block = row // blocks.rows
        begin = block * blocks.rows
        own = self._edges(name, begin, min(begin + blocks.rows, blocks.total)).tolist()
        first, last, place = own[0], own[-1], row - begin
        data = self.read(self.layout.columns[f"{name}/blob"].offset + first, last - first)
        if zlib.crc32(data) != blocks.sums[block]:
            since = "" if f"{name}/blob" in self.layout.sums else ", since it was opened"
            raise self.damaged(f"in row {row} of {name}{since}")
        return data[own[place] - first : own[place + 1] - first]

    def _opened(self, name: str, wanted: int) -> _Kept | _Blocks:
        """Returns what the rows of a text column are read by."""
        column = self.layout.columns[f"{name}/blob"]
        if f"{name}/blob" in self.layout.sums:
            return self._index(f"{name}/blob")
        count = self.layout.summed_rows(f"{name}/blob")
        edges = self._edges(name, 0, count)
        if column.length <= KEPT_BYTES:
            data = self.read(column.offset, column.length)
            total, kept = zlib.crc32(data), _Kept(data, edges)
        else:
            rows = index.text_rows(count, int(edges[-1]))
            sums, total = index.text_sums(
                lambda start, length: self.read(column.offset + start, length), edges, rows=rows
            )
        if total != column.crc32:
            raise self.damaged(f"in {name}, of which row {wanted} is wanted")
        return kept if column.length <= KEPT_BYTES else _Blocks(rows, sums, count)

    def _edges(self, name: str, start: int, stop: int) -> np.ndarray:
        """Returns where the rows `start` to `stop` - 1 begin, and where the last of them ends, in bytes."""
        if name != TOKENS:
            return self.part(f"{name}/offsets", start, stop + 1)
        tokens = self.part("sentences/tokens/offsets", start, stop + 1)
        first = int(tokens[0])
        return self.part("tokens/offsets", first, int(tokens[-1]) + 1)[tokens - first]
