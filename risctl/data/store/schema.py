"""Defines the file format of a store: one HDF5 file of flat columns, preceded by a fixed header.

The first `HEADER_BYTES` bytes are HDF5's "user block", in which this project writes one line of JSON: the format, its
version, the length of the whole file, and where the layout lies. The layout, JSON too and the last dataset of the file,
says where every column lies, with its checksum. So a foreign, newer, cut or damaged file is known for what it is at the
cost of two small reads. Any HDF5 tool opens the file; this project's reader needs none, since the HDF5 library takes a
damaged file on trust, to the point of crashing.

Every column is contiguous and uncompressed. Texts are one UTF-8 blob with offsets, ragged columns are values with
offsets: text `i` lies in `blob[offsets[i]:offsets[i + 1]]`. Image files lie one after another in `parts/0`, `parts/1`,
... of some 64 MB each, as they came. "Row" means a position in a table, "id" the publisher's number. Annotations
are ordered by image, sentences by ref.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from risctl.errors import DataError

FORMAT = "risctl store"
VERSION = 1
HEADER_BYTES = 512
PART_BYTES = 64 * 2**20

# Numbers: column -> (type, values a row).
NUMBERS: Mapping[str, tuple[str, int]] = {
    "images/id": ("<i8", 1),
    "images/height": ("<i4", 1),
    "images/width": ("<i4", 1),
    "images/length": ("<i8", 1),
    "images/sha256": ("|u1", 32),
    "images/crc32": ("<u4", 1),
    "images/part": ("<i4", 1),  # -1 in a linked store
    "images/start": ("<i8", 1),
    "images/annotations": ("<i8", 1),  # offsets (images + 1) into the annotations
    "categories/id": ("<i8", 1),
    "annotations/id": ("<i8", 1),
    "annotations/image": ("<i4", 1),
    "annotations/category": ("<i8", 1),
    "annotations/box": ("<f8", 4),
    "annotations/crowd": ("|u1", 1),
    "refs/id": ("<i8", 1),
    "refs/image": ("<i4", 1),
    "refs/split": ("<i4", 1),
    "refs/annotations/values": ("<i4", 1),
    "refs/annotations/offsets": ("<i8", 1),
    "refs/sentences": ("<i8", 1),  # offsets (refs + 1) into the sentences
    "sentences/id": ("<i8", 1),
    "sentences/ref": ("<i4", 1),
    "sentences/tokens/offsets": ("<i8", 1),  # offsets (sentences + 1) into the tokens
    "sentences/abilities/values": ("<i4", 1),
    "sentences/abilities/offsets": ("<i8", 1),
}

# Texts: column -> its encoding's name is always UTF-8; each has `blob` and `offsets`.
TEXTS: tuple[str, ...] = (
    "images/file_name",
    "images/path",  # absolute in a linked store, empty otherwise
    "categories/name",
    "splits",
    "abilities",
    "annotations/counts",
    "sentences/raw",
    "sentences/sent",
    "tokens",
)

# Where the pixels lie does not matter: a linked store and a full one of the same files share a fingerprint.
PLACES = ("images/part", "images/start", "images/path/blob", "images/path/offsets")


def columns() -> dict[str, tuple[str, int]]:
    """Returns the columns of a store: name → (type, values per row)."""
    texts = {f"{name}/blob": ("|u1", 1) for name in TEXTS} | {f"{name}/offsets": ("<i8", 1) for name in TEXTS}
    return dict(sorted((dict(NUMBERS) | texts).items()))


def fingerprint(name: str, split_by: str, tables: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 (hex) of a dataset's content.

    It covers the name, the way of splitting, and every column but those that say where the image files lie; the
    images' own bytes enter by their sha256. It does not depend on `--link`, paths, notes or the time of writing.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, VERSION, name, split_by]).encode())
    for column, (kind, _) in columns().items():
        if column in PLACES:
            continue
        values = np.ascontiguousarray(tables[column], dtype=kind)
        digest.update(f"{column} {values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the file says of itself: the dataset's names, the fingerprint, and where the columns and parts lie."""

    name: str
    split_by: str
    fingerprint: str
    linked: bool
    notes: dict[str, int]
    columns: dict[str, Column]
    parts: list[Column]

    def to_bytes(self) -> bytes:
        """Returns the layout as JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, length: int) -> Layout:
        """Parses a layout. Raises `ValueError` if it is malformed, or does not fit in a file of `length` bytes."""
        try:
            content = json.loads(data)
            content["columns"] = {name: _column(one, length) for name, one in content["columns"].items()}
            content["parts"] = [_column(value, length) for value in content["parts"]]
            layout = cls(**content)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"its layout is malformed: {error}") from error
        wanted = columns()
        for name, (kind, width) in wanted.items():
            found = layout.columns.get(name)
            if found is None or found.kind != kind or found.shape[1:] != ((width,) if width > 1 else ()):
                raise ValueError(f"it has no column {name} of {kind}")
        return layout


def _column(content: dict[str, Any], length: int) -> Column:
    column = Column(int(content["offset"]), content["kind"], tuple(content["shape"]), int(content["crc32"]))
    if any(not isinstance(side, int) or side < 0 for side in column.shape) or column.offset < 0:
        raise ValueError("a column has no size")
    if column.offset + column.length > length:
        raise ValueError("a column ends beyond the file")
    return column


def header(length: int, *, layout_at: int, layout: bytes) -> bytes:
    """Returns the header of a store whose file has `length` bytes and its `layout` at offset `layout_at`."""
    place = [layout_at, len(layout), hashlib.sha256(layout).hexdigest()]
    line = json.dumps({"format": FORMAT, "schema": VERSION, "bytes": length, "layout": place}) + "\n"
    return line.encode().ljust(HEADER_BYTES, b"\0")


def check_header(data: bytes, *, length: int, path: Path) -> tuple[int, int, str]:
    """Checks the header of a store.

    Args:
        data: The first bytes of the file.
        length: Length of the file in bytes.
        path: The file, for messages.

    Returns:
        Offset, length and SHA-256 of the layout.

    Raises:
        DataError: The file is no store, of another version, truncated or damaged.
    """
    found = _parse_header(data)
    if found is None:
        if data.startswith(b"\x89HDF\r\n\x1a\n"):
            raise DataError(f"{path} is an HDF5 file, but no risctl store; make one with `risctl prepare`")
        if is_of_a_store(data) and length < HEADER_BYTES:
            raise DataError(f"{path} is truncated at {length} bytes; prepare or copy the store again")
        raise DataError(f"{path} is no risctl store; make one with `risctl prepare`")
    if found["schema"] != VERSION:
        newer = found["schema"] > VERSION
        todo = "update risctl" if newer else "prepare the store again"
        raise DataError(f"{path} has store schema {found['schema']}; this risctl reads {VERSION}: {todo}")
    if found["bytes"] != length:
        raise DataError(
            f"{path} should have {found['bytes']:,} bytes and has {length:,}: it is truncated or altered; "
            f"prepare or copy the store again"
        )
    try:
        offset, size, digest = found["layout"]
        if not 0 <= offset <= offset + size <= length:
            raise ValueError
        return int(offset), int(size), str(digest)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: its header names no layout; prepare or copy the store again") from error


def is_of_a_store(data: bytes) -> bool:
    """Returns whether a file that starts with `data` is a store, of any version, complete or not."""
    return FORMAT.encode() in data[:32]


def _parse_header(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data[:HEADER_BYTES].split(b"\n", 1)[0])
    except (ValueError, UnicodeDecodeError):
        return None
    if not isinstance(found, dict) or found.get("format") != FORMAT or len(data) < HEADER_BYTES:
        return None
    if not isinstance(found.get("schema"), int) or not isinstance(found.get("bytes"), int):
        return None
    return found


def pack_texts(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Packs N texts into one UTF-8 blob, uint8, and offsets, int64 (N + 1,)."""
    pieces = [text.encode("utf-8", errors="surrogatepass") for text in texts]
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    return np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets


def unpack_text(blob: bytes) -> str:
    """Decodes a text of a blob."""
    return blob.decode("utf-8", errors="surrogatepass")


def pack_ragged(rows: Iterable[Iterable[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Packs N rows of numbers into values, int64, and offsets, int64 (N + 1,)."""
    lists = [list(row) for row in rows]
    offsets = np.zeros(len(lists) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in lists], out=offsets[1:])
    return np.array([value for row in lists for value in row], dtype=np.int64), offsets
