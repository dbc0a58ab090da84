"""What a store's file looks like: one HDF5 file of flat columns, with a fixed header before it.

The first `HEADER_BYTES` bytes are HDF5's "user block", in which this project writes one line of JSON: the format, its
version and the whole file's length. So a foreign, newer or cut file is known for what it is before HDF5 opens it, at
the cost of one small read. Any HDF5 tool opens the rest.

Every column is contiguous and uncompressed. Texts are one UTF-8 blob with offsets, ragged columns are values with
offsets: text `i` lies in `blob[offsets[i]:offsets[i + 1]]`. Image files lie one after another in `parts/0`, `parts/1`,
... of some 64 MB each, as they came. "Row" means a position in a table, "id" the publisher's number. Annotations
are ordered by image, sentences by ref.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
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
    "images/sha256": ("u1", 32),
    "images/crc32": ("<u4", 1),
    "images/part": ("<i4", 1),  # -1 in a linked store
    "images/start": ("<i8", 1),
    "images/annotations": ("<i8", 1),  # offsets (images + 1) into the annotations
    "categories/id": ("<i8", 1),
    "annotations/id": ("<i8", 1),
    "annotations/image": ("<i4", 1),
    "annotations/category": ("<i8", 1),
    "annotations/box": ("<f8", 4),
    "annotations/crowd": ("u1", 1),
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

# Where the pixels lie is not what they are: a linked store and a full one of the same files share a fingerprint.
PLACES = ("images/part", "images/start", "images/path/blob", "images/path/offsets")


def columns() -> dict[str, tuple[str, int]]:
    """Return every column of a store: its name, type and values a row."""
    texts = {f"{name}/blob": ("u1", 1) for name in TEXTS} | {f"{name}/offsets": ("<i8", 1) for name in TEXTS}
    return dict(sorted((dict(NUMBERS) | texts).items()))


def fingerprint(name: str, split_by: str, tables: Mapping[str, np.ndarray]) -> str:
    """Return the sha256 (hex) of a dataset's content.

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


def header(length: int) -> bytes:
    """Return the header of a store whose file has `length` bytes."""
    line = json.dumps({"format": FORMAT, "schema": VERSION, "bytes": length}) + "\n"
    return line.encode().ljust(HEADER_BYTES, b"\0")


def check_header(data: bytes, *, length: int, path: Path) -> None:
    """Raise `DataError` unless `data`, the first bytes of a file of `length` bytes, begin a store to be read."""
    found = _parse_header(data)
    if found is None:
        if data.startswith(b"\x89HDF\r\n\x1a\n"):
            raise DataError(f"{path} is an HDF5 file, but no risctl store; make one with `risctl prepare`")
        if data and FORMAT.encode() in data[:32] and length < HEADER_BYTES:
            raise DataError(f"{path} is cut short at {length} bytes; prepare or copy the store again")
        raise DataError(f"{path} is no risctl store; make one with `risctl prepare`")
    if found["schema"] != VERSION:
        newer = found["schema"] > VERSION
        todo = "update risctl" if newer else "prepare the store again"
        raise DataError(f"{path} has store schema {found['schema']}; this risctl reads {VERSION}: {todo}")
    if found["bytes"] != length:
        raise DataError(
            f"{path} should have {found['bytes']:,} bytes and has {length:,}: it is cut short or altered; "
            f"prepare or copy the store again"
        )


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
    """Return texts as one UTF-8 blob uint8 and offsets int64 (number of texts + 1)."""
    pieces = [text.encode("utf-8", errors="surrogatepass") for text in texts]
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    return np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets


def unpack_text(blob: bytes) -> str:
    """Return the text of its bytes in a blob."""
    return blob.decode("utf-8", errors="surrogatepass")


def pack_ragged(rows: Iterable[Iterable[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of numbers as values int64 and offsets int64 (number of rows + 1)."""
    lists = [list(row) for row in rows]
    offsets = np.zeros(len(lists) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in lists], out=offsets[1:])
    return np.array([value for row in lists for value in row], dtype=np.int64), offsets
