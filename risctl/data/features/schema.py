"""Defines the file format of cached features: HDF5 preceded by a fixed header, like a store (`data/store/schema.py`).

The groups "images" and "texts" hold one sample a row: `values` (samples, numbers) float16, one chunk a sample, in which
all tensors of the sample lie one after another; `shapes` (samples, tensors, 4) int32, filled up with -1; `keys`, what
the sample is of, as one UTF-8 blob with offsets; `places`, at which byte each chunk lies; `crc32` of each sample's
numbers. Chunks are of one length and their places never change, so that a file is laid out whole before the first
sample is computed, stays a valid HDF5 file whenever its writer is killed, and is read without the HDF5 library.

A set of shards has one more file: it names them, and joins their `values` as virtual datasets for other tools.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.store.schema import MAX_LAYOUT_BYTES
from risctl.errors import DataError
from risctl.json_text import parse_object, whole_number, writable_text

FORMAT = "risctl features"
VERSION = 1
HEADER_BYTES = 512
NUMBER = np.dtype("<f2")
IMAGES, TEXTS = "images", "texts"
DIMENSIONS = 4
SUFFIX = ".features.h5"

TABLES: Mapping[str, str] = {
    "shapes": "<i4",
    "places": "<i8",
    "keys/blob": "|u1",
    "keys/offsets": "<i8",
    "crc32": "<u4",
    "done": "|u1",
}
"""Tables of a group: name -> type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What features were computed from, and by what; a cache with another key is stale.

    Attributes:
        store: Fingerprint of the store.
        images: Name, SHA-256 of the frozen weights and preprocessing of the visual encoder; empty if it was not run.
        texts: The same of the text encoder.
        code: Version of risctl.
        orientations: 2 if every image is cached flipped, too; else 1.
    """

    store: str
    images: Mapping[str, Any]
    texts: Mapping[str, Any]
    code: str
    orientations: int

    def differences(self, other: Key) -> list[str]:
        """Returns, in words, how features of `other` differ from the wanted ones, which have this key."""
        found = []
        if self.store != other.store:
            found.append(f"they are of another store ({other.store[:12]}, now {self.store[:12]})")
        for kind, mine, theirs in ((IMAGES, self.images, other.images), (TEXTS, self.texts, other.texts)):
            for name in dict.fromkeys((*mine, *theirs)):
                now, then = mine.get(name), theirs.get(name)
                if now != then:
                    found.append(f"{_LABELS[kind]} {name} changed: {_short(then)}, now {_short(now)}")
        if self.code != other.code:
            found.append(f"they are of {other.code}, this is {self.code}")
        if self.orientations > other.orientations:
            found.append("they hold no mirrored samples, which data.augment.flip needs")
        return found


_LABELS = {IMAGES: "the visual encoder's", TEXTS: "the text encoder's"}


def _short(value: Any) -> str:
    return "none" if value is None else str(value)[:12] if isinstance(value, str) else str(value)


@dataclass(frozen=True, slots=True)
class Table:
    """Where a table lies: byte offset, number type and shape."""

    offset: int
    kind: str
    shape: tuple[int, ...]

    @property
    def length(self) -> int:
        """Length in bytes."""
        return math.prod(self.shape) * np.dtype(self.kind).itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The samples of images or of texts in a file.

    Attributes:
        count: Number of samples in this file.
        numbers: Numbers per chunk.
        first: Position of the first sample among those of all shards.
        total: Number of samples of all shards.
        tables: Where each table lies.
        sums: CRC-32 of the tables that are known before anything is computed.
    """

    count: int
    numbers: int
    first: int
    total: int
    tables: dict[str, Table]
    sums: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a file says of itself.

    Attributes:
        key: What its features were computed from.
        recipe: Name of the recipe.
        store: Name of the store.
        split: Name of the split.
        shard: Number of the shard, from 1, and the number of shards.
        groups: The groups by name.
        shards: Name of each file that this file joins, and the SHA-256 of its layout.
    """

    key: Key
    recipe: str
    store: str
    split: str
    shard: tuple[int, int]
    groups: dict[str, Group]
    shards: tuple[tuple[str, str], ...] = ()

    def to_bytes(self) -> bytes:
        """Returns the layout as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, length: int) -> Layout:
        """Parses a layout. Raises `ValueError` if it is malformed, or does not fit in a file of `length` bytes."""
        try:
            content = parse_object(data, max_bytes=MAX_LAYOUT_BYTES)
            content["key"] = _key(content["key"])
            content["groups"] = {name: _group(group, length) for name, group in content["groups"].items()}
            if not set(content["groups"]) <= {IMAGES, TEXTS}:
                raise ValueError("it has other groups")
            number, count = (whole_number(one, name="the shard", maximum=2**31) for one in content["shard"])
            content["shard"] = (number, count)
            content["shards"] = tuple((_file_name(name), str(digest)) for name, digest in content["shards"])
            for name in ("recipe", "store", "split"):
                writable_text(content[name], name=name)
            layout = cls(**content)
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(f"its layout is malformed: {error}"[:300]) from error
        tables = [table for group in layout.groups.values() for table in group.tables.values()]
        if sum(table.length for table in tables) > length:
            raise ValueError("its tables are longer than the file")
        return layout


def _key(content: dict[str, Any]) -> Key:
    key = Key(**content)
    for name, value in (("store", key.store), ("code", key.code)):
        writable_text(value, name=name)
    whole_number(key.orientations, name="orientations", maximum=2)
    if not isinstance(key.images, dict) or not isinstance(key.texts, dict):
        raise ValueError("it has no key")
    return key


def _file_name(name: Any) -> str:
    """Returns `name`, that of a shard. Raises `ValueError` if it could be no file beside the one that names it."""
    if name in ("", ".", "..") or "\0" in writable_text(name, name="a shard"):
        raise ValueError("a shard has no name")
    return str(name)


def _group(content: dict[str, Any], length: int) -> Group:
    sizes = ("count", "numbers", "first", "total")
    count, numbers, first, total = (whole_number(content[name], name=name, maximum=2**62) for name in sizes)
    tables = {name: _table(table, name=name, length=length) for name, table in content["tables"].items()}
    sums = {name: whole_number(value, name="a sum", maximum=2**32 - 1) for name, value in content["sums"].items()}
    if tables:
        if set(tables) != set(TABLES):
            raise ValueError("it has other tables")
        rows = dict.fromkeys(("shapes", "places", "crc32", "done"), count) | {"keys/offsets": count + 1}
        for name, table in tables.items():
            if len(table.shape) != (3 if name == "shapes" else 1) or table.shape[0] != rows.get(name, table.shape[0]):
                raise ValueError(f"{name} has another number of rows")
        if tables["shapes"].shape[2] != DIMENSIONS:
            raise ValueError("shapes are impossible")
    return Group(count=count, numbers=numbers, first=first, total=total, tables=tables, sums=sums)


def _table(content: dict[str, Any], *, name: str, length: int) -> Table:
    shape = tuple(whole_number(side, name=name, maximum=length) for side in content["shape"])
    table = Table(whole_number(content["offset"], name=name, maximum=length), str(content["kind"]), shape)
    if table.kind != TABLES.get(name) or table.offset + table.length > length:
        raise ValueError(f"{name[:30]} is impossible")
    return table


def check_table(name: str, values: np.ndarray, *, group: Group, tables: Mapping[str, Table], length: int) -> None:
    """Raises `ValueError` unless the values of a table are possible in a file of `length` bytes.

    Args:
        name: Name of the table.
        values: Its values.
        group: Its group.
        tables: Where the tables of the group lie.
        length: Length of the file in bytes.
    """
    if name == "shapes":
        # As real numbers, which do not overflow; -1 fills up.
        sides = np.where(values == -1, 1, values).astype(np.float64)
        too_many = (sides.prod(axis=2).sum(axis=1) > group.numbers).any()
        if values.size and (values.min() < -1 or too_many or np.maximum(sides, 1).prod(axis=2).max() > 2**48):
            raise ValueError("a shape is impossible")
    elif name == "places":
        last = length - group.numbers * NUMBER.itemsize
        if group.numbers and values.size and (values.min() < HEADER_BYTES or values.max() > last):
            raise ValueError("a place is impossible")
    elif name == "keys/offsets":
        end = tables["keys/blob"].shape[0]
        if values[0] != 0 or values[-1] != end or (values[1:] < values[:-1]).any():
            raise ValueError("the keys are not offsets")


def header(length: int, *, layout_at: int, layout: bytes, sums: int | None) -> bytes:
    """Returns the header of a file of `length` bytes; `sums`: CRC-32 of all `crc32` tables, None if unfinished."""
    place = [layout_at, len(layout), hashlib.sha256(layout).hexdigest()]
    line = json.dumps({"format": FORMAT, "schema": VERSION, "bytes": length, "layout": place, "sums": sums}) + "\n"
    return line.encode().ljust(HEADER_BYTES, b"\0")


@dataclass(frozen=True, slots=True)
class Header:
    """Where the layout lies, its SHA-256, and the CRC-32 of the sums, None in an unfinished file."""

    offset: int
    length: int
    digest: str
    sums: int | None


def check_header(data: bytes, *, length: int, path: Path) -> Header:
    """Parses the first bytes `data` of the file `path` of `length` bytes.

    Raises:
        DataError: The file holds no features, is of another version, truncated or damaged.
    """
    try:
        found = parse_object(data[:HEADER_BYTES].split(b"\n", 1)[0], max_bytes=HEADER_BYTES)
    except ValueError:
        found = {}
    if found.get("format") != FORMAT or len(data) < HEADER_BYTES:
        raise DataError(f"{path} is not a file of features; make one with `risctl prepare features`")
    if found.get("schema") != VERSION:
        raise DataError(
            f"{path} has features of schema {found.get('schema')!s:.20}, this risctl reads {VERSION}; "
            "make them again with `risctl prepare features`"
        )
    if found.get("bytes") != length:
        raise DataError(
            f"{path} should have {found.get('bytes')!s:.20} bytes and has {length}: it is truncated or altered"
        )
    try:
        offset, size, digest = found["layout"]
        sums = found["sums"]
        whole_number(offset, name="its place", maximum=length)
        whole_number(size, name="its length", maximum=min(length - offset, MAX_LAYOUT_BYTES))
        if sums is not None:
            whole_number(sums, name="its sum", maximum=2**32 - 1)
        return Header(offset, size, str(digest), sums)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: its header names no layout") from error


def key_of(name: str | int, *, mirrored: bool = False) -> str:
    """Returns the key of a sample: the id of an image, or the text itself."""
    return f"{name} mirrored" if mirrored else str(name)


def shard_rows(total: int, shard: tuple[int, int]) -> range:
    """Returns those of `total` rows that belong to `shard`, (number from 1, count)."""
    number, count = shard
    return range(total * (number - 1) // count, total * number // count)


def shard_path(path: Path, shard: tuple[int, int]) -> Path:
    """Returns the path of a shard, (number from 1, count), of the features `path`; `path` itself if single."""
    number, count = shard
    if count == 1:
        return path
    stem = path.name.removesuffix(SUFFIX).removesuffix(".h5")
    return path.with_name(f"{stem}.{number}-of-{count}{SUFFIX}")


def table_sum(values: np.ndarray) -> int:
    """Returns the CRC-32 of a table."""
    return zlib.crc32(np.ascontiguousarray(values).tobytes())


def sum_of(sums: Sequence[np.ndarray]) -> int:
    """Returns one CRC-32 of the sums of all groups, in the order of their names."""
    return zlib.crc32(b"".join(np.ascontiguousarray(part, dtype="<u4").tobytes() for part in sums))


def packed(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the tensors of a sample as one array, one after another."""
    return np.concatenate([np.zeros(0, NUMBER), *(np.asarray(part, dtype=NUMBER).reshape(-1) for part in parts)])
