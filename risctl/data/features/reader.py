"""Reading features: one small read and one checksum a sample, without the HDF5 library."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.features import schema
from risctl.data.features.schema import Group, Layout
from risctl.data.store.reader import _read_at
from risctl.errors import DataError

_AGAIN = "make it again with `risctl prepare features`"


class FeatureFile:
    """One file of features: a shard, or one that joins shards. Raises `DataError` if it is not whole.

    unfinished: take also one whose writer has not finished, to see what it is of.
    """

    def __init__(self, path: Path, *, unfinished: bool = False) -> None:
        self.path = path
        self._unfinished = unfinished
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115, PTH123 - kept open until close()
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
        self.size = os.fstat(self._file.fileno()).st_size
        head = schema.check_header(_read_at(self._file, 0, schema.HEADER_BYTES), length=self.size, path=self.path)
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
        """Close the file."""
        self._file.close()

    def keys(self, group: str) -> list[str]:
        """Return the keys of the samples of `group`, in order."""
        if group not in self.layout.groups:
            return []
        blob, offsets = self._checked(group, "keys/blob").tobytes(), self._checked(group, "keys/offsets").tolist()
        return [blob[start:stop].decode("utf-8", errors="surrogatepass") for start, stop in pairwise(offsets)]

    def sample(self, group: str, row: int) -> list[np.ndarray]:
        """Return the tensors of a sample, float16."""
        shapes = [tuple(side for side in shape if side >= 0) for shape in self._shapes(group)[row].tolist()]
        lengths = [int(np.prod(shape, dtype=np.int64)) for shape in shapes]
        place = int(self._places(group)[row])
        total = sum(lengths)
        if (total and place < schema.HEADER_BYTES) or total > self.layout.groups[group].numbers:
            raise self._damaged(f"a sample of {group} cannot be")
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
            if schema.table_sum(values) != self.layout.groups[group].sums.get(name):
                raise self._damaged(f"in {group}/{name}")
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
        data = _read_at(self._file, offset, length) if length else b""
        if len(data) != length:
            raise DataError(f"{self.path} was cut short while in use; {_AGAIN}")
        return data

    def _damaged(self, how: str) -> DataError:
        return DataError(f"{self.path} is damaged ({how}); {_AGAIN}")


class FeatureCache:
    """All features of a recipe on a store: one file, or the shards that one joins. Picklable: the path is carried.

    Raises `DataError` for a file that is missing, damaged, not finished, or joins shards that have changed.
    """

    def __init__(self, path: Path) -> None:
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
        if file.digest != digest:
            file.close()
            raise DataError(f"{file.path} is another shard than {self.path} was joined from; join the shards again")
        return file

    def close(self) -> None:
        """Close all files."""
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
        """Which groups it holds: "images", "texts"."""
        return sorted(self.layout.groups)

    @cached_property
    def _index(self) -> dict[str, dict[str, tuple[FeatureFile, int]]]:
        return {
            group: {key: (file, row) for file in self._files for row, key in enumerate(file.keys(group))}
            for group in self.groups
        }

    def keys(self, group: str) -> list[str]:
        """Return the keys of the samples of `group`, in order."""
        return list(self._index.get(group, {}))

    def sample(self, group: str, key: str) -> list[np.ndarray]:
        """Return the tensors of the sample `key` of `group`, float16."""
        found = self._index.get(group, {}).get(key)
        if found is None:
            raise DataError(f"{self.path} has no features of {key!r} among its {group}; {_AGAIN}")
        file, row = found
        return file.sample(group, row)

    def verify(self) -> Iterator[tuple[int, int]]:
        """Read every sample; yield (done, total). Raises `DataError` at the first that is damaged."""
        total = sum(len(self.keys(group)) for group in self.groups)
        done = 0
        for group in self.groups:
            for key in self.keys(group):
                self.sample(group, key)
                done += 1
                yield done, total

    def group(self, name: str) -> Group:
        """Return what is said of a group."""
        return self.layout.groups[name]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        joined = self.path.stat().st_size if self.layout.shards else 0
        return joined + sum(file.size for file in self._files)
