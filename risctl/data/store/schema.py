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

Version 2 differs in what large stores need: the parts may lie in files of their own (`shards`), and long columns have a
CRC-32 of every few rows (`sums/NAME`), so that one row can be read and checked without the whole column. A store that
has neither is of version 1, as all were before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from risctl.errors import DataError
from risctl.json_text import parse_object, whole_number

FORMAT = "risctl store"
SHARD_FORMAT = "risctl shard"
VERSION, NEWEST = 1, 2
HEADER_BYTES = 512
MAX_LAYOUT_BYTES = 16 * 2**20
"""A layout has some 100 bytes for each 64 MB of images, so this is that of many terabytes."""
PART_BYTES = 64 * 2**20
VIDEOS = "videos"  # `split_by` of a store whose images are frames of videos

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

TOKENS = "tokens"
"""The text column whose rows belong to sentences, some to each."""

# Those that may have surrogates.
SYSTEM_NAMES = ("images/file_name", "images/path")

# Offsets: column -> (table whose rows they divide among, table or column that they divide). Of N rows there are N + 1.
RANGES: Mapping[str, tuple[str, str]] = {
    "images/annotations": ("images", "annotations"),
    "refs/annotations/offsets": ("refs", "refs/annotations/values"),
    "refs/sentences": ("refs", "sentences"),
    "sentences/tokens/offsets": ("sentences", "tokens"),
    "sentences/abilities/offsets": ("sentences", "sentences/abilities/values"),
    **{f"{name}/offsets": (name.rpartition("/")[0] or name, f"{name}/blob") for name in TEXTS},
}
# Values of ragged columns and of texts: as many as the offsets say.
RAGGED = ("refs/annotations/values", "sentences/abilities/values", *(f"{name}/blob" for name in TEXTS))
# Row numbers: column -> the table that they point into.
POINTERS: Mapping[str, str] = {
    "annotations/image": "images",
    "refs/image": "images",
    "refs/split": "splits",
    "refs/annotations/values": "annotations",
    "sentences/ref": "refs",
    "sentences/abilities/values": "abilities",
}

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


def header(length: int, *, layout_at: int, layout: bytes, version: int = VERSION) -> bytes:
    """Returns the header of a store.

    Args:
        length: The length of its file.
        layout_at: Where its layout lies.
        layout: The layout.
        version: The version of the format.
    """
    place = [layout_at, len(layout), hashlib.sha256(layout).hexdigest()]
    line = json.dumps({"format": FORMAT, "schema": version, "bytes": length, "layout": place}) + "\n"
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
        if SHARD_FORMAT.encode() in data[:32]:
            raise DataError(f"{path} is a shard of a store; name the store, which lies beside the shard's folder")
        raise DataError(f"{path} is no risctl store; make one with `risctl prepare`")
    if not VERSION <= found["schema"] <= NEWEST:
        newer = found["schema"] > NEWEST
        todo = "update risctl" if newer else "prepare the store again"
        raise DataError(f"{path} has store schema {found['schema']}; this risctl reads {VERSION} to {NEWEST}: {todo}")
    if found["bytes"] != length:
        raise DataError(
            f"{path} should have {found['bytes']:,} bytes and has {length:,}: it is truncated or altered; "
            f"prepare or copy the store again"
        )
    try:
        offset, size, digest = found["layout"]
        whole_number(offset, name="its place", maximum=length)
        whole_number(size, name="its length", maximum=min(length - offset, MAX_LAYOUT_BYTES))
        return offset, size, str(digest)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged: its header names no layout; prepare or copy the store again") from error


def is_of_a_store(data: bytes) -> bool:
    """Returns whether a file that starts with `data` is a store, of any version, complete or not."""
    return FORMAT.encode() in data[:32]


def _parse_header(data: bytes) -> dict[str, Any] | None:
    try:
        found = parse_object(data[:HEADER_BYTES].split(b"\n", 1)[0], max_bytes=HEADER_BYTES)
    except ValueError:
        return None
    if found.get("format") != FORMAT or len(data) < HEADER_BYTES:
        return None
    if type(found.get("schema")) is not int or type(found.get("bytes")) is not int:
        return None
    return found


def pack_texts(texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Packs N texts into one UTF-8 blob, uint8, and offsets, int64 (N + 1,)."""
    pieces = [text.encode("utf-8", errors="surrogatepass") for text in texts]
    offsets = np.zeros(len(pieces) + 1, dtype=np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    return np.frombuffer(b"".join(pieces), dtype=np.uint8), offsets


def unpack_text(blob: bytes, *, name: str) -> str:
    """Decodes a text of the column `name`. Raises `ValueError` if it is none.

    File names and paths are the system's, which need not be UTF-8: Python reads what is not as halves of surrogate
    pairs. No other text has them.
    """
    return blob.decode("utf-8", errors="surrogatepass" if name in SYSTEM_NAMES else "strict")


def pack_ragged(rows: Iterable[Iterable[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Packs N rows of numbers into values, int64, and offsets, int64 (N + 1,)."""
    lists = [list(row) for row in rows]
    offsets = np.zeros(len(lists) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in lists], out=offsets[1:])
    return np.array([value for row in lists for value in row], dtype=np.int64), offsets
