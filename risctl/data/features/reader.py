"""Reads cached features: one small read and one checksum per sample, without the HDF5 library."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.features import schema
from risctl.data.features.schema import Group, Layout
from risctl.data.random_access import RandomAccessFile
from risctl.errors import DataError

_AGAIN = "make it again with `risctl prepare features`"


class FeatureFile:
    """One file of features: a shard, or one that joins shards."""

    def __init__(self, path: Path, *, unfinished: bool = False) -> None:
        """Opens a file.

        Args:
            path: The file.
            unfinished: Whether a file whose writer has not finished is accepted, to see what it contains.

        Raises:
            DataError: The file is missing, damaged or unfinished.
        """
        self.path = path
        self._unfinished = unfinished
        try:
            self._file = RandomAccessFile(path)
        except OSError as error:
            raise DataError(
                f"cannot open the features {path} ({error.strerror or error}); make them with `risctl prepare features`"
            ) from error
        try:
            self._read_layout()
        except BaseException:
            self._file.close()
            raise

    def _read_layout(self) -> None:
        self.size = self._file.size
        head = schema.check_header(self._file.read(0, schema.HEADER_BYTES), length=self.size, path=self.path)
        data = self._read(head.offset, head.length)
        try:
            if hashlib.sha256(data).hexdigest() != head.digest:
                raise ValueError("its layout is not what was written")
            self.layout = Layout.from_bytes(data, length=self.size)
        except ValueError as error:
            raise self._damaged(str(error)) from error
        if head.sums is None and not self._unfinished:
            raise DataError(f"{self.path} is not finished; go on with `risctl prepare features`")
        self.digest = head.digest
        names = sorted(self.layout.groups)
        self._sums = {name: self._table(name, "crc32") for name in names if not self.layout.shards}
        if not self.layout.shards and head.sums is not None and schema.sum_of(list(self._sums.values())) != head.sums:
            raise self._damaged("its sums are not what was written")

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def keys(self, group: str) -> list[str]:
        """Returns the keys of the samples of `group`, in order."""
        if group not in self.layout.groups:
            return []
        blob, offsets = self._checked(group, "keys/blob").tobytes(), self._checked(group, "keys/offsets").tolist()
        try:
            return [blob[start:stop].decode("utf-8", errors="surrogatepass") for start, stop in pairwise(offsets)]
        except UnicodeDecodeError as error:
            raise self._damaged(f"a key of {group} is no text") from error

    def sample(self, group: str, row: int) -> list[np.ndarray]:
        """Returns the feature tensors of a sample, float16."""
        shapes = [tuple(side for side in shape if side >= 0) for shape in self._shapes(group)[row].tolist()]
        lengths = [int(np.prod(shape, dtype=np.int64)) for shape in shapes]
        place = int(self._places(group)[row])
        total = sum(lengths)
        data = self._read(place, total * schema.NUMBER.itemsize)
        if zlib.crc32(data) != int(self._sums[group][row]):
            raise self._damaged(f"in row {row} of {group}")
        # A copy that may be written to, as torch wants it.
        values = np.frombuffer(bytearray(data), dtype=schema.NUMBER)
        ends = np.cumsum([0, *lengths])
        return [values[start:stop].reshape(shape) for start, stop, shape in zip(ends, ends[1:], shapes, strict=False)]

    def _shapes(self, group: str) -> np.ndarray:
        return self._checked(group, "shapes")

    def _places(self, group: str) -> np.ndarray:
        return self._checked(group, "places")

    @cached_property
    def _cache(self) -> dict[tuple[str, str], np.ndarray]:
        return {}

    def _checked(self, group: str, name: str) -> np.ndarray:
        if (group, name) not in self._cache:
            values = self._table(group, name)
            described = self.layout.groups[group]
            if schema.table_sum(values) != described.sums.get(name):
                raise self._damaged(f"in {group}/{name}")
            try:
                schema.check_table(name, values, group=described, tables=described.tables, length=self.size)
            except ValueError as error:
                raise self._damaged(f"in {group}/{name}: {error}") from error
            self._cache[group, name] = values
        return self._cache[group, name]

    def _table(self, group: str, name: str) -> np.ndarray:
        table = self.layout.groups[group].tables.get(name)
        if table is None:
            raise self._damaged(f"it has no {group}/{name}")
        return np.frombuffer(self._read(table.offset, table.length), dtype=table.kind).reshape(table.shape)

    def _read(self, offset: int, length: int) -> bytes:
        if self._file.closed:
            raise DataError(f"the features {self.path} are closed")
        data = self._file.read(offset, length) if length else b""
        if len(data) != length:
            raise DataError(f"{self.path} was cut short while in use; {_AGAIN}")
        return data

    def _damaged(self, how: str) -> DataError:
        return DataError(f"{self.path} is damaged ({how}); {_AGAIN}")


class FeatureCache:
    """All features of a recipe on a store: one file, or the shards that one joins.

    It pickles: the path and the digest are carried, and the copy opens the files itself.

    Attributes:
        path: The file, or the one that joins the shards.
        layout: What the file says of its contents.
        digest: Identifies the contents.
    """

    def __init__(self, path: Path) -> None:
        """Opens the cache. Raises `DataError` if a file is missing, damaged, unfinished, or a changed shard."""
        self.path = path
        self._open()

    def _open(self) -> None:
        first = FeatureFile(self.path)
        self.layout = first.layout
        self.digest = first.digest
        self._files = [first]
        try:
            if first.layout.shards:
                first.close()
                self._files = [self._shard(name, digest) for name, digest in first.layout.shards]
        except BaseException:
            self.close()
            raise

    def _shard(self, name: str, digest: str) -> FeatureFile:
        if Path(name).name != name:
            raise DataError(f"{self.path} names a shard in another folder: {name}")
        file = FeatureFile(self.path.with_name(name))
        if file.layout.shards:
            file.close()
            raise DataError(f"{self.path} joins {file.path}, which is no shard; join the shards again")
        if file.digest != digest:
            file.close()
            raise DataError(f"{file.path} is another shard than {self.path} was joined from; join the shards again")
        return file

    def close(self) -> None:
        """Closes all files."""
        for file in self._files:
            file.close()

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path.absolute(), "digest": self.digest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.path = state["path"]
        self._open()
        if self.digest != state["digest"]:
            raise DataError(f"{self.path} was replaced by other features while in use; start again")

    @property
    def groups(self) -> list[str]:
        """The groups of the cache: "images", "texts"."""
        return sorted(self.layout.groups)

    @cached_property
    def _index(self) -> dict[str, dict[str, tuple[FeatureFile, int]]]:
        return {
            group: {key: (file, row) for file in self._files for row, key in enumerate(file.keys(group))}
            for group in self.groups
        }

    def keys(self, group: str) -> list[str]:
        """Returns the keys of the samples of `group`, in order."""
        return list(self._index.get(group, {}))

    def sample(self, group: str, key: str) -> list[np.ndarray]:
        """Returns the feature tensors, float16, of the sample `key` of `group`. Raises `DataError` if it is missing."""
        found = self._index.get(group, {}).get(key)
        if found is None:
            raise DataError(f"{self.path} has no features of {key!r} among its {group}; {_AGAIN}")
        file, row = found
        return file.sample(group, row)

    def verify(self) -> Iterator[tuple[int, int]]:
        """Reads every sample, yielding (done, total). Raises `DataError` at the first damaged one."""
        total = sum(len(self.keys(group)) for group in self.groups)
        done = 0
        for group in self.groups:
            for key in self.keys(group):
                self.sample(group, key)
                done += 1
                yield done, total

    def group(self, name: str) -> Group:
        """Returns the description of a group."""
        return self.layout.groups[name]

    @property
    def size(self) -> int:
        """Size of all files in bytes."""
        joined = self.path.stat().st_size if self.layout.shards else 0
        return joined + sum(file.size for file in self._files)
