"""Defines the layout of a store: what its file says of itself, and where its columns and images lie."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from risctl.data.store.schema import MAX_LAYOUT_BYTES, NEWEST, NUMBERS, RAGGED, RANGES, TOKENS, VERSION, columns
from risctl.json_text import parse_object, whole_number, writable_text


@dataclass(frozen=True, slots=True)
class Column:
    """Where a column lies: byte offset in the file, number type, shape, and the CRC-32 of its bytes."""

    offset: int
    kind: str
    shape: tuple[int, ...]
    crc32: int

    @property
    def length(self) -> int:
        """Length in bytes."""
        return math.prod(self.shape) * np.dtype(self.kind).itemsize


@dataclass(frozen=True, slots=True)
class Sums:
    """The CRC-32 of every `rows` rows of a column, the last fewer, and where they lie."""

    rows: int
    column: Column


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of images beside the store: `FOLDER/FILE`, its length, the digest of its parts, and their number."""

    name: str
    bytes: int
    digest: str
    parts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the file says of itself: the dataset's names, the fingerprint, and where the columns and parts lie.

    `parts` lie in the store's own file, or in those of `shards`, in their order.
    """

    name: str
    split_by: str
    fingerprint: str
    linked: bool
    notes: dict[str, int]
    columns: dict[str, Column]
    parts: list[Column]
    shards: tuple[Shard, ...] = ()
    sums: Mapping[str, Sums] = field(default_factory=dict)

    @property
    def version(self) -> int:
        """The version of the format that a reader must know."""
        return NEWEST if self.shards or self.sums else VERSION

    def to_bytes(self) -> bytes:
        """Returns the layout as JSON; what version 1 has not is left out where it is empty."""
        content = asdict(self)
        for name in ("shards", "sums"):
            if not content[name]:
                del content[name]
        return json.dumps(content).encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, length: int) -> Layout:
        """Parses a layout. Raises `ValueError` if it is malformed, or does not fit in a file of `length` bytes."""
        try:
            return cls._from_json(parse_object(data, max_bytes=MAX_LAYOUT_BYTES), length=length)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"its layout is malformed: {error}") from error
        except ValueError as error:
            raise ValueError(f"its layout is malformed: {error}"[:300]) from error

    @classmethod
    def _from_json(cls, content: dict[str, Any], *, length: int) -> Layout:
        wanted = columns()
        for name, value in content["columns"].items():
            if name not in wanted:
                raise ValueError(f"it has a column {name!r:.60}, which is unknown")
            content["columns"][name] = _column(value, wanted[name], length=length, name=name)
        if missing := wanted.keys() - content["columns"].keys():
            raise ValueError(f"it has no column {min(missing)}")
        content["shards"] = shards = tuple(_shard(one) for one in content.get("shards", ()))
        content["sums"] = sums = {
            name: _sums(one, content["columns"].get(name), length=length, name=name)
            for name, one in content.get("sums", {}).items()
        }
        content["parts"] = parts = _parts(content["parts"], shards, length=length)
        own = [] if shards else parts
        # Columns lie apart: all of them together are no longer than the file, nor is the memory that they take.
        columns_of_file = (*content["columns"].values(), *(one.column for one in sums.values()), *own)
        if sum(column.length for column in columns_of_file) > length:
            raise ValueError("its columns are longer than the file")
        if shards and content["linked"]:
            raise ValueError("it is linked and has shards")
        for name in ("name", "split_by"):
            if "\0" in writable_text(content[name], name=name):
                raise ValueError(f"{name} has a zero byte")
        if not isinstance(content["fingerprint"], str) or not re.fullmatch("[0-9a-f]{64}", content["fingerprint"]):
            raise ValueError("its fingerprint is none")
        if type(content["linked"]) is not bool:
            raise ValueError("linked is neither true nor false")
        for name, count in content["notes"].items():
            whole_number(count, name=writable_text(name, name="a note"), maximum=2**63)
        layout = cls(**content)
        layout._check_rows()
        return layout

    def _check_rows(self) -> None:
        for name, column in self.columns.items():
            if name in RANGES:
                right = column.shape[0] == self.rows(RANGES[name][0]) + 1 > 0
            else:
                table = name.partition("/")[0]
                right = f"{table}/id" not in NUMBERS or name in RAGGED or column.shape[0] == self.rows(table)
            if not right:
                raise ValueError(f"{name} has {column.shape[0]:,} rows")
        for name, one in self.sums.items():
            rows = self.summed_rows(name)
            if one.column.shape[0] != -(-rows // one.rows):
                raise ValueError(f"the sums of {name} are of other rows")

    def summed_rows(self, name: str) -> int:
        """Returns the rows of a column by which it has sums: texts of a text column, those of a sentence of tokens."""
        if not name.endswith("/blob"):
            return self.columns[name].shape[0]
        text = name.removesuffix("/blob")
        return self.rows("sentences" if text == TOKENS else text)

    def rows(self, table: str) -> int:
        """Returns the number of rows of a table, such as "images", of a ragged column's values, or of a text column."""
        if f"{table}/id" in self.columns:
            return self.columns[f"{table}/id"].shape[0]
        if table in self.columns:
            return self.columns[table].shape[0]
        return self.columns[f"{table}/offsets"].shape[0] - 1


def _column(content: dict[str, Any], kind: tuple[str, int], *, length: int, name: str) -> Column:
    """Parses where a column of `kind`, (type, values a row), lies in a file of `length` bytes."""
    shape = [whole_number(side, name=f"the shape of {name}", maximum=length) for side in content["shape"]]
    if content["kind"] != kind[0] or len(shape) not in (1, 2) or shape[1:] != ([kind[1]] if kind[1] > 1 else []):
        raise ValueError(f"it has no column {name} of {kind[0]}")
    column = Column(
        whole_number(content["offset"], name=f"the place of {name}", maximum=length),
        kind[0],
        tuple(shape),
        whole_number(content["crc32"], name=f"the sum of {name}", maximum=2**32 - 1),
    )
    if column.offset + column.length > length:
        raise ValueError(f"{name} ends beyond the file")
    return column


def _parts(content: list[dict[str, Any]], shards: Sequence[Shard], *, length: int) -> list[Column]:
    """Parses where the parts lie: in a file of `length` bytes, or in those of shards."""
    if shards and sum(one.parts for one in shards) != len(content):
        raise ValueError(f"its shards have other parts than the {len(content):,} that are listed")
    lengths = [one.bytes for one in shards for _ in range(one.parts)] if shards else [length] * len(content)
    return [
        _column(part, ("|u1", 1), length=room, name=f"part {row}")
        for row, (part, room) in enumerate(zip(content, lengths, strict=True))
    ]


def _shard(content: dict[str, Any]) -> Shard:
    name = writable_text(content["name"], name="the name of a shard")
    pieces = name.split("/")
    # Two plain names, of a folder beside the store and of a file there, lead nowhere else.
    if len(pieces) != 2 or any(piece in ("", ".", "..") or re.search(r"[\\\0:]", piece) for piece in pieces):
        raise ValueError(f"the shard {name!r:.60} is no file in a folder beside the store")
    digest = content["digest"]
    if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError("the digest of a shard is none")
    return Shard(
        name,
        whole_number(content["bytes"], name="the length of a shard", maximum=2**62),
        digest,
        whole_number(content["parts"], name="the parts of a shard", maximum=MAX_LAYOUT_BYTES),
    )


def _sums(content: dict[str, Any], column: Column | None, *, length: int, name: str) -> Sums:
    if column is None:
        raise ValueError(f"it has sums of {name!r:.60}, which is no column")
    rows = whole_number(content["rows"], name=f"the rows of a sum of {name}", maximum=2**32)
    if rows < 1:
        raise ValueError(f"a sum of {name} has no row")
    return Sums(rows, _column(content["column"], ("<u4", 1), length=length, name=f"the sums of {name}"))
