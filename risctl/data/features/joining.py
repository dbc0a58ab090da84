"""Joins the shards of cached features by one file that names them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from risctl.data.features import schema
from risctl.data.features.reader import FeatureFile
from risctl.data.features.schema import Group, Layout
from risctl.data.features.writer import put
from risctl.data.hdf5_file import DeferredErrorFile
from risctl.data.store.schema import pack_texts
from risctl.errors import DataError
from risctl.files import replacing


def present_shards(path: Path) -> dict[int, list[int]]:
    """Returns which shards of the features `path` exist, by the number of shards."""
    stem = re.escape(path.name.removesuffix(schema.SUFFIX).removesuffix(".h5"))
    pattern = re.compile(rf"{stem}\.(\d+)-of-(\d+){re.escape(schema.SUFFIX)}")
    found: dict[int, list[int]] = {}
    for one in path.parent.iterdir() if path.parent.is_dir() else ():
        if match := pattern.fullmatch(one.name):
            found.setdefault(int(match[2]), []).append(int(match[1]))
    return {count: sorted(numbers) for count, numbers in found.items()}


def join(path: Path, count: int) -> Path:
    """Writes the file `path` that joins the `count` shards beside it as virtual datasets, and returns it.

    Raises:
        DataError: A shard is missing, unfinished, or of other features than the first.
    """
    shards = []
    try:
        for number in range(1, count + 1):
            shards.append(FeatureFile(schema.shard_path(path, (number, count))))
        layout = _joined_layout(path, shards)
        with replacing(path) as part:
            _write(part, shards, layout)
    finally:
        for shard in shards:
            shard.close()
    return path


def _joined_layout(path: Path, shards: list[FeatureFile]) -> Layout:
    first = shards[0].layout
    for shard in shards[1:]:
        if shard.layout.split != first.split or shard.layout.key != first.key:
            how = first.key.differences(shard.layout.key) or ["they are of another split"]
            raise DataError(f"{shard.path} does not belong to {shards[0].path}: {'; '.join(how)}")
    groups = {}
    for name, group in first.groups.items():
        parts = [shard.layout.groups[name] for shard in shards if name in shard.layout.groups]
        ends = np.cumsum([0, *(part.count for part in parts)]).tolist()
        if len(parts) != len(shards) or [part.first for part in parts] != ends[:-1] or ends[-1] != group.total:
            raise DataError(f"the shards of {path} are incomplete; make all of them with the same number of shards")
        groups[name] = Group(count=group.total, numbers=group.numbers, first=0, total=group.total, tables={}, sums={})
    names = tuple((shard.path.name, shard.digest) for shard in shards)
    return replace(first, shard=(1, 1), groups=groups, shards=names)


def _write(part: Path, shards: list[FeatureFile], layout: Layout) -> None:
    data = layout.to_bytes()
    with DeferredErrorFile(part, "xb+") as disk, h5py.File(disk, "w", userblock_size=schema.HEADER_BYTES) as file:
        for name, group in layout.groups.items():
            if not group.count or not group.numbers:
                continue
            values = h5py.VirtualLayout(shape=(group.count, group.numbers), dtype=schema.NUMBER)
            start = 0
            for shard in shards:
                own = shard.layout.groups[name].count
                if own:
                    source = h5py.VirtualSource(shard.path.name, f"{name}/values", shape=(own, group.numbers))
                    values[start : start + own] = source
                start += own
            # What HDF5 returns for a missing or truncated shard: no zeros that could pass for features.
            file.create_virtual_dataset(f"{name}/values", values, fillvalue=np.nan)
            blob, offsets = pack_texts([key for shard in shards for key in shard.keys(name)])
            put(file, f"{name}/keys/blob", blob)
            put(file, f"{name}/keys/offsets", offsets)
        at = put(file, "layout", np.frombuffer(data, dtype=np.uint8)).offset
    disk.raise_failure()
    length = part.stat().st_size
    with part.open("r+b") as written:
        written.write(schema.header(length, layout_at=at, layout=data, sums=0))
