"""Reads TensorFlow's checkpoints, of both formats, without TensorFlow.

Both are sorted string tables (LevelDB's). In the V1 format one file holds the numbers too; in the V2 format
`NAME.index` says where in `NAME.data-00000-of-00001` they lie.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from risctl.errors import CheckpointError
from risctl.weights.budget import Budget
from risctl.weights.protobuf import fields, message, numbers, varint

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}
# TensorProto's fields of values, by the type: float_val, double_val, int_val, int64_val.
_LONGEST_NAME = 4096
_VALUES = {1: 5, 2: 6, 3: 7, 9: 10}


def is_tf_checkpoint(path: Path) -> bool:
    """Returns whether `path` is a checkpoint: a file of the V1 format, or the prefix or `.index` of the V2 format."""
    file = _table_of(path)
    if not file.is_file() or file.stat().st_size < _FOOTER:
        return False
    with file.open("rb") as opened:
        opened.seek(-8, 2)
        return opened.read(8) == struct.pack("<Q", _MAGIC)


def read_tf_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Returns the numbers of every variable of a checkpoint, by its name.

    Raises:
        CheckpointError: A file is missing or damaged, or variables are partitioned.
    """
    table = _table_of(path)
    try:
        budget = Budget(path, size=sum(one.stat().st_size for one in _files_of(table)))
        entries = dict(_entries(table.read_bytes(), budget))
        if table.suffix == ".index":
            return _from_bundle(entries, table, budget)
        return _from_slices(entries, budget)
    except CheckpointError:
        raise
    except Exception as error:  # a table of damaged bytes can raise nearly anything
        raise CheckpointError(
            f"{path} cannot be read as a TensorFlow checkpoint: {str(error) or type(error).__name__}"
        ) from None


def _table_of(path: Path) -> Path:
    index = path.with_name(f"{path.name}.index")
    data = path.name.partition(".data-")
    if data[1]:
        return path.with_name(f"{data[0]}.index")
    return index if index.is_file() else path


def _files_of(table: Path) -> list[Path]:
    if table.suffix != ".index":
        return [table]
    return [table, *(one for one in table.parent.iterdir() if one.name.startswith(f"{table.stem}.data-"))]


def _entries(data: bytes, budget: Budget) -> Iterator[tuple[bytes, bytes]]:
    """Yields the keys and values of a table."""
    view = memoryview(data)
    if len(data) < _FOOTER or struct.unpack("<Q", data[-8:])[0] != _MAGIC:
        raise ValueError("it does not end as a table does")
    place = len(data) - _FOOTER
    _, place = varint(view, place)
    _, place = varint(view, place)
    for _, handle in _block(data, *_handle(view, place)):
        for key, value in _block(data, *_handle(memoryview(handle), 0)):
            # The same block may be named many times; an entry takes more than its bytes.
            budget.spend(len(key) + len(value) + 64)
            yield key, value


def _handle(view: memoryview, place: int) -> tuple[int, int]:
    offset, place = varint(view, place)
    size, _ = varint(view, place)
    return offset, size


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    if offset + size + 5 > len(data):
        raise ValueError("a block lies beyond its end")
    if data[offset + size] != 0:
        raise ValueError("its blocks are compressed; save it anew with TensorFlow")
    view = memoryview(data)[offset : offset + size]
    restarts = struct.unpack("<I", view[-4:])[0]
    end = size - 4 * (restarts + 1)
    place, key = 0, b""
    while place < end:
        shared, place = varint(view, place)
        own, place = varint(view, place)
        length, place = varint(view, place)
        if shared + own > _LONGEST_NAME:
            raise ValueError("a name in it is too long")
        key = key[:shared] + bytes(view[place : place + own])
        place += own
        yield key, bytes(view[place : place + length])
        place += length


def _from_bundle(entries: dict[bytes, bytes], index: Path, budget: Budget) -> dict[str, np.ndarray]:
    header = dict(fields(entries.pop(b"")))
    shards = int.from_bytes(value, "little") if isinstance(value := header.get(1, 1), bytes) else value
    if header.get(2, 0) != 0:
        raise ValueError("its numbers are big-endian")
    arrays = {}
    for name, entry in entries.items():
        kind, shape, shard, offset, size = 0, [], 0, 0, 0
        for number, value in fields(entry):
            if number == 2:
                shape = _shape(message(value))
            elif number == 7:
                raise ValueError(f"{name.decode()} is saved in pieces")
            elif isinstance(value, int):
                kind = value if number == 1 else kind
                shard = value if number == 3 else shard
                offset = value if number == 4 else offset
                size = value if number == 5 else size
        if kind not in _TYPES:
            continue  # text and the like
        file = index.with_name(f"{index.stem}.data-{shard:05d}-of-{shards:05d}")
        if offset + size > file.stat().st_size:
            raise ValueError(f"{file.name} ends before {name.decode()}")
        budget.spend(size)
        dtype = np.dtype(_TYPES[kind])
        values = np.fromfile(file, dtype=dtype, count=size // dtype.itemsize, offset=offset)
        arrays[name.decode()] = values.reshape(shape)
    return arrays


def _from_slices(entries: dict[bytes, bytes], budget: Budget) -> dict[str, np.ndarray]:
    kinds: dict[str, tuple[int | bytes, list[int]]] = {}
    for number, value in fields(entries.pop(b"")):
        if number == 1:
            for inner, saved in fields(message(value)):
                if inner == 1:
                    parts = dict(fields(message(saved)))
                    kinds[message(parts[1]).decode()] = parts.get(3, 0), _shape(message(parts.get(2, b"")))
    arrays: dict[str, np.ndarray] = {}
    for entry in entries.values():
        for number, value in fields(entry):
            if number != 2:
                continue
            piece = dict(fields(message(value)))
            name = message(piece[1]).decode()
            if name in arrays:
                raise ValueError(f"{name} is saved in pieces")
            kind, shape = kinds[name]
            if isinstance(kind, int) and kind in _TYPES:
                values = _values(message(piece[3]), kind)
                budget.spend(values.nbytes)
                arrays[name] = values.reshape(shape)
    return arrays


def _values(data: bytes, kind: int) -> np.ndarray:
    """Returns the values of a TensorProto of type `kind`, which the V1 format does not repeat in it."""
    found = bytearray()
    for number, value in fields(data):
        if number == 4:
            found += message(value)
        elif number == _VALUES.get(kind):
            if kind in (1, 2):
                found += value if isinstance(value, bytes) else value.to_bytes(4 if kind == 1 else 8, "little")
            else:
                found += np.array(numbers(value), dtype=np.uint64).astype(_TYPES[kind]).tobytes()
    return np.frombuffer(found, dtype=_TYPES[kind])


def _shape(data: bytes) -> list[int]:
    sizes = []
    for number, value in fields(data):
        if number == 2:
            sizes.append(next((size for inner, size in fields(message(value)) if inner == 1), 0))
    return [size for size in sizes if isinstance(size, int)]
