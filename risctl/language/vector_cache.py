"""Reads and writes the compact file that word vectors are converted to once, and says where such files are kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import load_file, save

from risctl.errors import DataError
from risctl.files import cache_folder
from risctl.language.vector_files import Table

FORMAT = "risctl word vectors 1"


def cached_path(source: Path, *, words: Iterable[str] | None, first: int, dim: int | None) -> Path:
    """Returns where the conversion of `source` for these words is kept; a changed source gets another path."""
    stat = source.stat()
    key = hashlib.sha256(f"{FORMAT} {source.name} {stat.st_size} {stat.st_mtime_ns} {first} {dim}".encode())
    key.update(b"all" if words is None else "\n".join(sorted(words)).encode())
    return cache_folder() / "vectors" / f"{source.stem}-{key.hexdigest()[:20]}.safetensors"


def write_compact(path: Path, table: Table, *, source: str) -> None:
    """Writes a table, whole or not at all.

    Raises:
        OSError: The disk refuses.
    """
    blob = np.frombuffer("\n".join(table.words).encode(), dtype=np.uint8)
    arrays: dict[str, np.ndarray] = {"vectors": np.ascontiguousarray(table.vectors, np.float32), "words": blob}
    header = {"risctl": json.dumps({"format": FORMAT, "source": source, "sha256": _digest(arrays)})}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with beside.open("wb") as file:
            file.write(save(arrays, header))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


def read_compact(path: Path) -> Table:
    """Reads what `write_compact` wrote.

    Raises:
        DataError: The file is missing, damaged or something else.
    """
    if not path.is_file():
        raise DataError(f"expected word vectors at {path}, found no file")
    try:
        arrays = load_file(path)
        vectors, words = arrays["vectors"], tuple(arrays["words"].tobytes().decode().split("\n"))
    except (safetensors.SafetensorError, OSError, KeyError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is damaged or no file of word vectors: {error}") from error
    if vectors.ndim != 2 or len(words) != len(vectors) or not np.isfinite(vectors).all():
        raise DataError(f"{path} is damaged: {len(words)} words for vectors {vectors.shape}, all to be finite")
    return Table(words=words, vectors=vectors.astype(np.float32))


def source_of(path: Path) -> str:
    """Returns the file that a compact file was made of; an empty string if it does not say.

    Raises:
        DataError: The file is damaged or something else.
    """
    return str(_header(path).get("source", ""))


def check_sum(path: Path) -> bool:
    """Checks a compact file against its checksum.

    Returns:
        Whether it has a checksum; early files have none.

    Raises:
        DataError: The content is not what was written.
    """
    read_compact(path)
    recorded = _header(path).get("sha256")
    if recorded is not None and recorded != _digest(load_file(path)):
        raise DataError(f"{path} is damaged: its sha256 is not what was written")
    return recorded is not None


def _header(path: Path) -> dict[str, Any]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            found = json.loads((file.metadata() or {}).get("risctl", "{}"))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path} is damaged or no file of word vectors: {error}") from error
    return found if isinstance(found, dict) else {}


def _digest(arrays: dict[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(np.ascontiguousarray(arrays[name]).data)
    return found.hexdigest()
