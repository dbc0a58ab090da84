"""Reads the columns of a store, nothing of which is used unchecked.

A store has one CRC-32 of each column. Columns of numbers, and of texts and masks up to `KEPT_BYTES`, are compared with
theirs when they are first read, then they stay in memory. Longer ones stay in the file: their first use reads them
once, compares the whole with its sum, and takes a sum of every few rows on the way, with which each later read is
compared. So a file that is damaged while it is in use changes nothing that is read, or is noticed.
"""

from __future__ import annotations

import zlib
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from risctl.data.random_access import RandomAccessFile
from risctl.data.store import checks, schema
from risctl.data.store.schema import Layout
from risctl.errors import DataError

KEPT_BYTES = 8 * 2**20
"""Texts and masks of so many bytes a column are kept in memory: the sentences of RefCOCO are 3 million."""

_PIECE_BYTES = 4 * 2**20
"""A column is summed in pieces of so many bytes."""

_BLOCK_BYTES, _MOST_ROWS = 512, 8
"""Rows of about so many bytes have one sum: few enough to read with each, and enough to keep sums few."""

TOKENS = "tokens"


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
    """The blocks of a text column.

    Attributes:
        rows: Rows of a block; the last one may have fewer.
        sums: The CRC-32 of each block.
        edges: Where each row begins, and where the last one ends, in bytes.
    """

    rows: int
    sums: np.ndarray
    edges: np.ndarray


class Columns:
    """The columns of an open store. All methods raise `DataError`, which names the store, for what is damaged."""

    def __init__(self, file: RandomAccessFile, path: Path) -> None:
        """Reads from `file`, which messages call `path`; `layout` is set once it is read."""
        self._file, self._path = file, path
        self.layout: Layout
        self._numbers: dict[str, np.ndarray] = {}
        self._texts: dict[str, _Blocks | _Kept] = {}

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
        """Returns the bytes of a row, compared with a sum; of tokens, those of a sentence."""
        blocks = self._texts.get(name)
        if blocks is None:
            short = self.layout.columns[f"{name}/blob"].length <= KEPT_BYTES
            blocks = self._texts[name] = self._kept(name, row) if short else self._summed(name, row)
        if isinstance(blocks, _Kept):
            start, stop = blocks.edges[row : row + 2].tolist()
            return blocks.data[start:stop]
        block, edges = row // blocks.rows, blocks.edges
        own = edges[block * blocks.rows : (block + 1) * blocks.rows + 1].tolist()
        first, last, place = own[0], own[-1], row - block * blocks.rows
        data = self.read(self.layout.columns[f"{name}/blob"].offset + first, last - first)
        if zlib.crc32(data) != blocks.sums[block]:
            raise self.damaged(f"in row {row} of {name}, since it was opened")
        return data[own[place] - first : own[place + 1] - first]

    def _edges(self, name: str) -> np.ndarray:
        edges = self.numbers(f"{name}/offsets")
        return edges[self.numbers("sentences/tokens/offsets")] if name == TOKENS else edges

    def _kept(self, name: str, wanted: int) -> _Kept:
        """Returns a text column whose whole has the sum that was written."""
        edges, column = self._edges(name), self.layout.columns[f"{name}/blob"]
        data = self.read(column.offset, column.length)
        if zlib.crc32(data) != column.crc32:
            raise self.damaged(f"in {name}, of which row {wanted} is wanted")
        return _Kept(data, edges)

    def _summed(self, name: str, wanted: int) -> _Blocks:
        """Returns the CRC-32 of every block of a text column whose whole has the sum that was written."""
        edges = self._edges(name)
        count, length = len(edges) - 1, int(edges[-1])
        rows = max(1, min(_MOST_ROWS, _BLOCK_BYTES * count // max(1, length)))
        places = np.append(edges[:-1:rows], length)
        column = self.layout.columns[f"{name}/blob"]
        sums: list[int] = []
        total = block = 0
        while block < len(places) - 1:
            # As many blocks as fit into a piece, but at least one.
            stop = max(block + 1, int(np.searchsorted(places, places[block] + _PIECE_BYTES, side="right")) - 1)
            ends = (places[block : stop + 1] - places[block]).tolist()
            data = memoryview(self.read(column.offset + int(places[block]), ends[-1]))
            total = zlib.crc32(data, total)
            sums += [zlib.crc32(data[start:end]) for start, end in pairwise(ends)]
            block = stop
        if total != column.crc32:
            raise self.damaged(f"in {name}, of which row {wanted} is wanted")
        return _Blocks(rows, np.array(sums, dtype=np.uint32), edges)
