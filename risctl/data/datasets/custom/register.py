"""Remembers what a check of millions of lines must compare: in memory for small files, in a file on disk for any."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from risctl.data.datasets.custom.issues import Location

Row = tuple[Location, int, int]
"""Where something was first, and two whole numbers of its own."""

_CACHE = -32_000
"""Of the database's pages in memory: 32 MB."""

_RECENT = 4096
"""Rows of the latest images that are at hand: lines about one image mostly follow each other."""

_TEXT = "text"
"""The kind of names that hardly come twice."""


class Register(Protocol):
    """First places by kind and name, and counts by name."""

    def first(self, kind: str, name: str, row: Row) -> Row:
        """Returns the row of the first call with this kind and name, which is `row` at the first."""

    def get(self, kind: str, name: str) -> Row | None:
        """Returns the row of a kind and name, None without any."""

    def count(self, name: str, refs: int, texts: int) -> None:
        """Adds to the counts of a name."""

    def counts(self) -> Iterator[tuple[int, int]]:
        """Yields the counts of all names, in order of the names."""

    def close(self) -> None:
        """Lets go of what it holds."""


class MemoryRegister:
    """A register in memory."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}
        self._counts: dict[str, tuple[int, int]] = {}

    def first(self, kind: str, name: str, row: Row) -> Row:
        """See `Register.first`."""
        return self._rows.setdefault((kind, name), row)

    def get(self, kind: str, name: str) -> Row | None:
        """See `Register.get`."""
        return self._rows.get((kind, name))

    def count(self, name: str, refs: int, texts: int) -> None:
        """See `Register.count`."""
        before = self._counts.get(name, (0, 0))
        self._counts[name] = before[0] + refs, before[1] + texts

    def counts(self) -> Iterator[tuple[int, int]]:
        """See `Register.counts`."""
        for name in sorted(self._counts):
            yield self._counts[name]

    def close(self) -> None:
        """See `Register.close`."""


class DiskRegister:
    """A register in a temporary file, some 60 bytes a name: memory does not grow with it.

    Names are kept as digests of 16 bytes; of places, the lines alone.
    """

    def __init__(self) -> None:
        import sqlite3

        self._folder = tempfile.TemporaryDirectory(prefix="risctl-check-")
        self._base = sqlite3.connect(Path(self._folder.name) / "seen.sqlite", isolation_level=None)
        for order in (
            "PRAGMA journal_mode=OFF",
            "PRAGMA synchronous=OFF",
            f"PRAGMA cache_size={_CACHE}",
            "CREATE TABLE rows (name BLOB PRIMARY KEY, line INTEGER, a INTEGER, b INTEGER) WITHOUT ROWID",
            "CREATE TABLE counts (name BLOB PRIMARY KEY, refs INTEGER, texts INTEGER) WITHOUT ROWID",
            "BEGIN",
        ):
            self._base.execute(order)
        self._cursor = self._base.cursor()
        self._recent: dict[bytes, Row] = {}

    def first(self, kind: str, name: str, row: Row) -> Row:
        """See `Register.first`."""
        key = _digest(kind, name)
        known = self._recent.get(key)
        if known is not None:
            return known
        location, a, b = row
        self._cursor.execute("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?)", (key, location.line, a, b))
        found = row if self._cursor.rowcount else self._row(key) or row
        if kind != _TEXT:
            self._keep(key, found)
        return found

    def get(self, kind: str, name: str) -> Row | None:
        """See `Register.get`."""
        key = _digest(kind, name)
        found = self._recent.get(key) or self._row(key)
        if found is not None and kind != _TEXT:
            self._keep(key, found)
        return found

    def _keep(self, key: bytes, row: Row) -> None:
        if len(self._recent) >= _RECENT:
            self._recent.clear()
        self._recent[key] = row

    def _row(self, key: bytes) -> Row | None:
        found = self._cursor.execute("SELECT line, a, b FROM rows WHERE name = ?", (key,)).fetchone()
        return None if found is None else (Location(found[0]), found[1], found[2])

    def count(self, name: str, refs: int, texts: int) -> None:
        """See `Register.count`."""
        self._cursor.execute(
            "INSERT INTO counts VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET refs = refs + ?, texts = texts + ?",
            (name.encode("utf-8", errors="surrogatepass"), refs, texts, refs, texts),
        )

    def counts(self) -> Iterator[tuple[int, int]]:
        """See `Register.counts`."""
        yield from self._base.execute("SELECT refs, texts FROM counts ORDER BY name")

    def close(self) -> None:
        """See `Register.close`."""
        with suppress(Exception):
            self._base.close()
        self._folder.cleanup()


def _digest(kind: str, name: str) -> bytes:
    return hashlib.blake2b(f"{kind}\0{name}".encode("utf-8", errors="surrogatepass"), digest_size=16).digest()


def number_of(text: str) -> int:
    """Returns a whole number of 63 bits that stands for a text."""
    digest = hashlib.blake2b(text.encode("utf-8", errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
