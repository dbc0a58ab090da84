"""Keeps the images of a store in several files beside it, so that none is larger than a disk or a copy can take.

The store's own file holds all tables, and is as fast to open as one of linked images. `STORE.shards/0003-DIGEST.shard`
is an HDF5 file of parts as the store itself has them, preceded by a header of one line: its length, and the digest of
its parts (places, lengths, checksums), which the store names too. So a shard of another store is known for what it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from risctl.data.hdf5_file import DeferredErrorFile
from risctl.data.random_access import RandomAccessFile
from risctl.data.store import schema
from risctl.data.store.layout import Column, Layout, Shard
from risctl.errors import DataError, UsageError
from risctl.files import replacing
from risctl.json_text import parse_object

MAX_SHARDS = 256
"""Shards of a store at most: each is a file that stays open once it was read from."""

_SUFFIX = ".shard"
_NAMED = 3
_UNITS = {"MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding:
    """How images are divided among shards: into a number of them, or by their size; one of both is given.

    Attributes:
        count: The number of shards.
        bytes: Bytes of images in each, at most; one image alone may have more.
    """

    count: int = 0
    bytes: int = 0

    @classmethod
    def parse(cls, text: str) -> Sharding:
        """Parses a number of shards, such as `8`, or their size, such as `4GB`. Raises `UsageError` otherwise."""
        match = re.fullmatch(r"(\d{1,6})(?:\s*(MB|GB|TB))?", text.strip(), re.IGNORECASE)
        number = int(match[1]) if match else 0
        if match is None or number < 1 or (match[2] is None and number > MAX_SHARDS):
            raise UsageError(
                f"--shards: expected a number from 1 to {MAX_SHARDS}, or a size such as 4GB, got {text!r:.40}"
            )
        return cls(bytes=number * _UNITS[match[2].upper()]) if match[2] else cls(count=number)


def shards_folder(store: Path) -> Path:
    """Returns the folder of a store's shards."""
    return store.with_name(f"{store.stem}.shards")


class ImageParts:
    """Writes encoded images one after another, in datasets of some 64 MB, so that they need not be in memory at once.

    Attributes:
        parts: Where those lie that are written.
    """

    def __init__(self, file: h5py.File, disk: DeferredErrorFile) -> None:
        """Writes into `file`, which lies on `disk`."""
        self._file, self._disk = file, disk
        self.parts: list[Column] = []
        self._pieces: list[bytes] = []
        self._length = 0

    @property
    def size(self) -> int:
        """Bytes of the images so far."""
        return sum(part.length for part in self.parts) + self._length

    def add(self, data: bytes, *, row: int = 0) -> tuple[int, int]:
        """Appends an image; returns its part and its offset there, wherever its `row` is."""
        if self._pieces and self._length + len(data) > schema.PART_BYTES:
            self.flush()
        position = len(self.parts), self._length
        self._pieces.append(data)
        self._length += len(data)
        return position

    def flush(self) -> None:
        """Writes what is in memory as the next part."""
        if self._pieces:
            values = np.frombuffer(b"".join(self._pieces), dtype=np.uint8)
            self.parts.append(put_column(self._file, f"parts/{len(self.parts)}", values, self._disk))
        self._pieces, self._length = [], 0


def put_column(file: h5py.File, name: str, values: np.ndarray, disk: DeferredErrorFile) -> Column:
    """Writes a column and returns where it lies."""
    dataset = file.create_dataset(name, data=values)
    disk.raise_failure()
    # A column without values has no offset in the file.
    return Column(dataset.id.get_offset() or 0, values.dtype.str, values.shape, zlib.crc32(values.data))


class ShardWriter:
    """Writes images into shards, each whole before the next one begins; without success none of the new ones stays.

    Used in a `with` statement: what was written is removed unless `keep` was called.
    """

    def __init__(self, store: Path, sharding: Sharding, *, images: int) -> None:
        """Writes the shards of `store`, which has so many `images`. Raises `UsageError` for more than there may be."""
        self._folder = shards_folder(store.absolute())
        self._sharding, self._images = sharding, images
        self.shards: list[Shard] = []
        self.parts: list[Column] = []
        self._new: list[Path] = []
        self._before = set(self._folder.glob(f"*{_SUFFIX}"))
        self._had_folder = self._folder.is_dir()
        self._place = 0
        self._stack = contextlib.ExitStack()
        self._open: ImageParts | None = None
        self._kept = False

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
        if not self._kept:
            for path in self._new:
                path.unlink(missing_ok=True)
            if not self._had_folder:
                with contextlib.suppress(OSError):
                    self._folder.rmdir()

    def add(self, data: bytes, *, row: int) -> tuple[int, int]:
        """Appends the image that row `row` is the first to show; returns its part among all and its offset there."""
        if self._open is not None and self._is_full(len(data), row):
            self.flush()
        if self._open is None:
            self._open, self._place = self._stack.enter_context(self._shard()), self._place_of(row)
        part, start = self._open.add(data)
        return len(self.parts) + part, start

    def flush(self) -> None:
        """Completes the shard that was begun."""
        if self._open is not None:
            self._open = None
            self._stack.close()

    def keep(self, old: Sequence[Path]) -> None:
        """Keeps what was written, now that the store names it, and removes the `old` shards that it replaces."""
        self._kept = True
        mine = {self._folder.parent / one.name for one in self.shards}
        for path in old:
            if path not in mine:
                path.unlink(missing_ok=True)

    def _is_full(self, length: int, row: int) -> bool:
        if self._open is None:
            return False
        if self._sharding.count:
            return self._place_of(row) != self._place
        return self._open.size + length > self._sharding.bytes

    def _place_of(self, row: int) -> int:
        """Returns which of a number of shards the image of a row falls to."""
        return row * self._sharding.count // max(1, self._images)

    @contextlib.contextmanager
    def _shard(self) -> Iterator[ImageParts]:
        number = len(self.shards)
        if number == MAX_SHARDS:
            raise UsageError(f"the images take more than {MAX_SHARDS} shards; make them larger with --shards")
        # Its name has the digest of its parts, which is known when they are written.
        begun = self._folder / f"{number:04d}-{os.getpid()}{_SUFFIX}"
        try:
            with replacing(begun) as beside, DeferredErrorFile(beside, "xb+") as disk:
                with h5py.File(disk, "w", userblock_size=schema.HEADER_BYTES) as file:
                    parts = ImageParts(file, disk)
                    yield parts
                    parts.flush()
                length = disk.seek(0, io.SEEK_END)
                digest = _digest(parts.parts)
                disk.seek(0)
                disk.write(_header(length, digest))
                disk.raise_failure()
            path = self._folder / f"{number:04d}-{digest[:12]}{_SUFFIX}"
            begun.replace(path)
        except BaseException:
            begun.unlink(missing_ok=True)
            raise
        if path not in self._before:
            self._new.append(path)
        self.shards.append(
            Shard(name=f"{self._folder.name}/{path.name}", bytes=length, digest=digest, parts=len(parts.parts))
        )
        self.parts += parts.parts


class ShardReader:
    """Reads the images of a store from its shards, each of which is opened when it is first read from."""

    def __init__(self, store: Path, layout: Layout) -> None:
        """Looks for the shards beside `store`. Raises `DataError` if one is missing, or is another file."""
        if len(layout.shards) > MAX_SHARDS:
            raise DataError(f"{store} has {len(layout.shards):,} shards; {MAX_SHARDS} are the most that are read")
        self._store, self._layout = store, layout
        self._of_part = [number for number, one in enumerate(layout.shards) for _ in range(one.parts)]
        self._files: dict[int, RandomAccessFile] = {}
        self._closed = False
        folders = dict.fromkeys((store.absolute().parent, Path(os.path.realpath(store)).parent))
        self.paths = [_found(one, folders) for one in layout.shards]
        missing = [one.name for one, path in zip(layout.shards, self.paths, strict=True) if not path.is_file()]
        if missing:
            more = ", …" if len(missing) > _NAMED else ""
            raise DataError(
                f"{store} lacks {len(missing)} of its {len(layout.shards)} shards "
                f"({', '.join(missing[:_NAMED])}{more}), where its pictures are; copy them to where the store lies, or "
                "prepare it again"
            )
        for number in range(len(self.paths)):
            self._checked(number).close()

    @property
    def size(self) -> int:
        """The length of all shards in bytes."""
        return sum(one.bytes for one in self._layout.shards)

    def read(self, part: int, start: int, length: int) -> bytes:
        """Returns `length` bytes of a part from `start` on. Raises `DataError` if they cannot be read."""
        number = self._of_part[part]
        file = self._files.get(number)
        if file is None:
            if self._closed:
                raise DataError(f"the store {self._store} is closed")
            opened = self._checked(number)
            file = self._files.setdefault(number, opened)
            if file is not opened:  # another thread was first
                opened.close()
        if file.closed:
            raise DataError(f"the store {self._store} is closed")
        data = file.read(self._layout.parts[part].offset + start, length)
        if len(data) != length:
            raise DataError(f"{self.paths[number]} was cut short while in use; copy or prepare the store again")
        return data

    def close(self) -> None:
        """Closes the files."""
        self._closed = True
        for file in self._files.values():
            file.close()

    def _checked(self, number: int) -> RandomAccessFile:
        """Returns a shard, opened, that is the one that the store was written with."""
        path, wanted = self.paths[number], self._layout.shards[number]
        try:
            file = RandomAccessFile(path)
        except OSError as error:
            raise DataError(f"cannot open the shard {path} of {self._store}: {error.strerror or error}") from error
        try:
            found, length = _parsed(file.read(0, schema.HEADER_BYTES)), file.size
            if found is None:
                raise DataError(f"{path} is no shard of a store, as {self._store} expects it to be; {_AGAIN}")
            if found != (wanted.bytes, wanted.digest):
                raise DataError(f"{path} is a shard of another store, not of {self._store}; {_AGAIN}")
            if length != wanted.bytes:
                raise DataError(f"{path} should have {wanted.bytes:,} bytes and has {length:,}; {_AGAIN}")
        except BaseException:
            file.close()
            raise
        return file


_AGAIN = "copy it again, or prepare the store again"


def _found(shard: Shard, folders: dict[Path, None]) -> Path:
    paths = [folder / shard.name for folder in folders]
    return next((path for path in paths if path.is_file()), paths[0])


def _digest(parts: Sequence[Column]) -> str:
    content = json.dumps([[one.offset, one.length, one.crc32] for one in parts])
    return hashlib.sha256(content.encode()).hexdigest()


def _header(length: int, digest: str) -> bytes:
    line = json.dumps({"format": schema.SHARD_FORMAT, "schema": 1, "bytes": length, "digest": digest}) + "\n"
    return line.encode().ljust(schema.HEADER_BYTES, b"\0")


def _parsed(head: bytes) -> tuple[int, str] | None:
    """Returns the length and the digest that a shard's header states, None if it is none."""
    try:
        found = parse_object(head.split(b"\n", 1)[0], max_bytes=schema.HEADER_BYTES)
    except ValueError:
        return None
    if found.get("format") != schema.SHARD_FORMAT or type(found.get("bytes")) is not int:
        return None
    return found["bytes"], str(found.get("digest"))
