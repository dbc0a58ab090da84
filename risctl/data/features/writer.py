"""Writes cached features, one shard per process; a killed writer is resumed where it stopped."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np

from risctl.data.features import schema
from risctl.data.features.schema import Group, Layout, Table
from risctl.data.hdf5_file import DeferredErrorFile
from risctl.data.store.schema import pack_texts
from risctl.errors import DataError, MachineError
from risctl.files import as_error

Shapes = tuple[tuple[int, ...], ...]
"""The shapes of a sample's tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What one group of a shard will hold.

    Attributes:
        keys: Key of each sample.
        shapes: Shapes of each sample's tensors.
        numbers: Numbers in the longest sample of all shards.
        first: Position of the first sample among those of all shards.
        total: Number of samples of all shards.
    """

    keys: Sequence[str]
    shapes: Sequence[Shapes]
    numbers: int
    first: int
    total: int

    @property
    def bytes(self) -> int:
        """Disk space of the samples in bytes."""
        return len(self.keys) * self.numbers * schema.NUMBER.itemsize

    def known(self) -> dict[str, np.ndarray]:
        """Returns the tables that are known before anything is computed."""
        tensors = max((len(one) for one in self.shapes), default=0)
        shapes = np.full((len(self.shapes), tensors, schema.DIMENSIONS), -1, dtype=np.int32)
        for row, own in enumerate(self.shapes):
            for place, shape in enumerate(own):
                shapes[row, place, : len(shape)] = shape
        blob, offsets = pack_texts(self.keys)
        return {"shapes": shapes, "keys/blob": blob, "keys/offsets": offsets}


class ShardWriter:
    """An unfinished file of features beside `path`, with the samples that an earlier writer of the same left in it.

    `todo` returns what is missing; `put` adds samples, which then survive a kill; `finish` gives the file its name.
    """

    def __init__(self, path: Path, plan: Layout, samples: Mapping[str, Samples]) -> None:
        """Starts or resumes a file.

        Args:
            path: Name of the finished file.
            plan: The layout without its groups.
            samples: The groups by name.

        Raises:
            DataError: Another process is writing the file.
            MachineError: The disk is too small.
        """
        self.path = path
        self.part = path.with_name(path.name + ".part")
        self._samples = dict(samples)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.part, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            self._file = DeferredErrorFile(handle, "rb+")
            try:
                self._lock()
                if not self._resume(plan):
                    self._lay_out(plan)
                self._tables = {
                    (group, name): self._table(group, name) for group in samples for name in ("done", "crc32", "places")
                }
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise as_error(error, path) from error

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def todo(self, group: str) -> list[int]:
        """Returns the rows of `group` that are not written yet."""
        return [int(row) for row in np.flatnonzero(self._tables[group, "done"] == 0)]

    def put(self, group: str, rows: Sequence[int], samples: Sequence[Sequence[np.ndarray]]) -> None:
        """Writes samples.

        Args:
            group: Name of the group.
            rows: Rows of the samples.
            samples: Tensors of each sample.

        Raises:
            ValueError: Tensors have other shapes than planned.
            MachineError: The disk is full.
        """
        try:
            for row, parts in zip(rows, samples, strict=True):
                shapes, planned = tuple(tuple(part.shape) for part in parts), self._samples[group].shapes[row]
                if shapes != planned:
                    raise ValueError(f"sample {row} has shapes {shapes}, planned were {planned}")
                data = schema.packed(parts).tobytes()
                self._write(int(self._tables[group, "places"][row]), data)
                self._tables[group, "crc32"][row] = zlib.crc32(data)
            # A row that is marked as done must be there after a power cut as well.
            os.fsync(self._file.fileno())
            self._tables[group, "done"][list(rows)] = 1
            for row in rows:
                for name in ("crc32", "done"):
                    values, table = self._tables[group, name], self._layout.groups[group].tables[name]
                    self._write(table.offset + row * values.itemsize, values[row].tobytes())
        except OSError as error:
            raise as_error(error, self.path) from error

    def finish(self) -> Path:
        """Gives the complete file its name and returns it. Raises `ValueError` if samples are missing."""
        missing = {name: len(self.todo(name)) for name in self._samples}
        if any(missing.values()):
            raise ValueError(f"samples are missing: {missing}")
        sums = schema.sum_of([self._tables[name, "crc32"] for name in sorted(self._samples)])
        try:
            self._write_header(sums)
            self.part.replace(self.path)
        except OSError as error:
            raise as_error(error, self.path) from error
        return self.path

    def _lock(self) -> None:
        with contextlib.suppress(ImportError):  # Windows has no fcntl: two writers of one file are not told apart there
            import fcntl

            try:
                fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(f"{self.path} is being written by another process; wait for it") from None
            except OSError:
                pass  # a file system without locks
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._file.fileno()), self.part.stat()):
                return
        raise DataError(f"{self.path} was finished by another process just now")

    def _resume(self, plan: Layout) -> bool:
        """Returns whether an earlier writer's file is of the same features, and takes it over if so."""
        length = os.fstat(self._file.fileno()).st_size
        try:
            found = schema.check_header(self._read(0, schema.HEADER_BYTES), length=length, path=self.part)
            data = self._read(found.offset, found.length)
            layout = Layout.from_bytes(data, length=length)
        except (DataError, ValueError):
            return False
        if hashlib.sha256(data).hexdigest() != found.digest or set(layout.groups) != set(self._samples):
            return False
        for name, samples in self._samples.items():
            group, known = layout.groups[name], samples.known()
            same = (group.numbers, group.first, group.total) == (samples.numbers, samples.first, samples.total)
            if not same or any(group.sums.get(table) != schema.table_sum(values) for table, values in known.items()):
                return False
            places = self._table_of(group, "places")
            if places is None or schema.table_sum(places) != group.sums.get("places"):
                return False
        # Through JSON, which has no tuples.
        wanted = Layout.from_bytes(replace(plan, groups={}).to_bytes(), length=0)
        if replace(layout, groups={}) != wanted:
            return False
        self._layout, self._layout_at, self._layout_data = layout, found.offset, data
        return True

    def _lay_out(self, plan: Layout) -> None:
        """Creates the file with every table and chunk in its place, before anything is computed."""
        self._file.seek(0)
        self._file.truncate(0)
        need = sum(sample.bytes for sample in self._samples.values())
        free = shutil.disk_usage(self.part.parent).free
        if need > free:
            raise MachineError(
                f"{self.path} needs {need / 1e9:.2f} GB and {self.part.parent} has {free / 1e9:.2f} GB free; "
                "choose another disk with --out, or write it in parts with --shard"
            )
        groups: dict[str, Group] = {}
        with h5py.File(self._file, "w", userblock_size=schema.HEADER_BYTES) as file:
            for name, samples in self._samples.items():
                groups[name] = _laid_out(file, name, samples)
            self._layout = replace(plan, groups=groups)
            self._layout_data = self._layout.to_bytes()
            self._layout_at = put(file, "layout", np.frombuffer(self._layout_data, dtype=np.uint8)).offset
        self._file.raise_failure()
        length = os.fstat(self._file.fileno()).st_size
        if hasattr(os, "posix_fallocate"):
            # A full disk is reported now, not after hours.
            os.posix_fallocate(self._file.fileno(), 0, length)
        self._write_header(None)

    def _write_header(self, sums: int | None) -> None:
        length = os.fstat(self._file.fileno()).st_size
        os.fsync(self._file.fileno())
        self._write(0, schema.header(length, layout_at=self._layout_at, layout=self._layout_data, sums=sums))
        os.fsync(self._file.fileno())

    def _table(self, group: str, name: str) -> np.ndarray:
        found = self._table_of(self._layout.groups[group], name)
        assert found is not None  # of what was laid out, or resumed
        return found

    def _table_of(self, group: Group, name: str) -> np.ndarray | None:
        table = group.tables.get(name)
        if table is None:
            return None
        return np.frombuffer(self._read(table.offset, table.length), dtype=table.kind).reshape(table.shape).copy()

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        data = b""
        while len(data) < length and (more := self._file.read(length - len(data))):
            data += more
        return data

    def _write(self, offset: int, data: bytes) -> None:
        self._file.seek(offset)
        self._file.write(data)
        self._file.raise_failure()


def _laid_out(file: h5py.File, name: str, samples: Samples) -> Group:
    """Creates a group with all its chunks, whose offsets are then looked up: HDF5 guarantees nothing about them."""
    known, count = samples.known(), len(samples.keys)
    places = np.zeros(count, dtype=np.int64)
    file.create_group(name)
    if count and samples.numbers:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((1, samples.numbers))
        settings.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((count, samples.numbers))
        values = h5py.h5d.create(file[name].id, b"values", h5py.h5t.IEEE_F16LE, space, settings)
        values.chunk_iter(lambda chunk: places.__setitem__(chunk.chunk_offset[0], chunk.byte_offset))
    tables = {
        **known,
        "places": places,
        "crc32": np.zeros(count, dtype=np.uint32),
        "done": np.zeros(count, dtype=np.uint8),
    }
    return Group(
        count=count,
        numbers=samples.numbers,
        first=samples.first,
        total=samples.total,
        tables={table: put(file, f"{name}/{table}", values) for table, values in tables.items()},
        sums={table: schema.table_sum(values) for table, values in (known | {"places": places}).items()},
    )


def put(file: h5py.File, name: str, values: np.ndarray) -> Table:
    """Writes a contiguous dataset and returns where it lies."""
    dataset = file.create_dataset(name, data=values)
    return Table(dataset.id.get_offset() or 0, values.dtype.str, values.shape)
