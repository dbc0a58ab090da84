"""The sums of every few rows of a long column: with them a row is read and checked without the others."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import numpy as np

from risctl.data.store.schema import TOKENS

LONG_NUMBERS, LONG_TEXT = 2 * 2**20, 8 * 2**20
"""Bytes of a column from which on it has sums: shorter ones are read as a whole faster than a person notices."""

_NUMBERS_BYTES = 4096
"""Bytes of numbers that have one sum."""

_TEXT_BYTES, _MOST_ROWS = 2048, 32
"""Rows of texts of about so many bytes have one sum: few enough to read with each, and enough to keep sums few."""

_PIECE_BYTES = 4 * 2**20
"""A column is summed in pieces of so many bytes."""


def sums_of(tables: Mapping[str, np.ndarray]) -> Iterator[tuple[str, int, np.ndarray]]:
    """Yields name, rows of a sum and sums, uint32, of the long columns of `tables`."""
    for name, values in tables.items():
        if name.endswith("/blob"):
            if values.nbytes > LONG_TEXT:
                edges = _edges(name.removesuffix("/blob"), tables)
                rows = text_rows(len(edges) - 1, int(edges[-1]))
                yield name, rows, text_sums(_reader(values), edges, rows=rows)[0]
        elif values.nbytes > LONG_NUMBERS:
            width = values.nbytes // len(values)
            rows = max(1, _NUMBERS_BYTES // width)
            read, step = _reader(values), rows * width
            sums = [zlib.crc32(read(start, step)) for start in range(0, values.nbytes, step)]
            yield name, rows, np.array(sums, dtype="<u4")


def _reader(values: np.ndarray) -> Callable[[int, int], memoryview]:
    data = memoryview(values.reshape(-1).view(np.uint8).data)
    return lambda start, length: data[start : start + length]


def text_rows(count: int, length: int) -> int:
    """Returns the rows of one sum of a text column of `count` rows and `length` bytes."""
    return max(1, min(_MOST_ROWS, _TEXT_BYTES * count // max(1, length)))


def text_sums(
    read: Callable[[int, int], bytes | memoryview], edges: np.ndarray, *, rows: int
) -> tuple[np.ndarray, int]:
    """Returns the CRC-32 of every few rows of a text column, uint32, and that of the whole.

    Args:
        read: Returns bytes of the column by their place and number.
        edges: Where each row begins, and where the last one ends, in bytes.
        rows: Rows of a sum.
    """
    places = np.append(edges[:-1:rows], edges[-1])
    sums: list[int] = []
    total = block = 0
    while block < len(places) - 1:
        # As many blocks as fit into a piece, but at least one.
        stop = max(block + 1, int(np.searchsorted(places, places[block] + _PIECE_BYTES, side="right")) - 1)
        ends = (places[block : stop + 1] - places[block]).tolist()
        data = memoryview(read(int(places[block]), ends[-1]))
        total = zlib.crc32(data, total)
        sums += [zlib.crc32(data[start:end]) for start, end in pairwise(ends)]
        block = stop
    return np.array(sums, dtype="<u4"), total


def _edges(text: str, tables: Mapping[str, np.ndarray]) -> np.ndarray:
    edges = tables[f"{text}/offsets"]
    return edges[tables["sentences/tokens/offsets"]] if text == TOKENS else edges
