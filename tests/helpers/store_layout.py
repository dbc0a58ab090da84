"""Reads and changes the layout of a store's file, for the tests of what is wrong with one."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.store import schema
from risctl.data.store.reader import Store


def layout_of(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    offset, length, _ = schema.check_header(data[: schema.HEADER_BYTES], length=len(data), path=path)
    layout: dict[str, Any] = json.loads(data[offset : offset + length])
    return layout


def read_whole(store: Store) -> list[Any]:
    """Read every value of every row."""
    tables = {name: range(len(store.numbers(f"{name}/id"))) for name in ("images", "annotations", "refs", "sentences")}
    found: list[Any] = [store.categories, store.splits]
    found += [
        (store.image(row), store.image_bytes(row), store.annotations_of(row).tolist()) for row in tables["images"]
    ]
    found += [store.annotation(row) for row in tables["annotations"]]
    found += [(store.ref(row).annotations, store.ref(row).ref_id, store.mask(row)) for row in tables["refs"]]
    found += [store.sentence(row) for row in tables["sentences"]]
    return found


# `images/sha256` is what `prepare verify` compares; the paths are those of linked stores.


def rewritten(path: Path, values_of: dict[str, Any], /, *, instead: bytes = b"", **layout: Any) -> None:
    """Change the first values of columns, and the layout, with valid sums."""
    data = bytearray(path.read_bytes())
    found = layout_of(path) | layout
    for name, values in values_of.items():
        column = found["columns"][name]
        packed = np.asarray(values, dtype=column["kind"]).tobytes()
        data[column["offset"] : column["offset"] + len(packed)] = packed
        size = int(np.prod(column["shape"])) * np.dtype(column["kind"]).itemsize
        column["crc32"] = zlib.crc32(data[column["offset"] : column["offset"] + size])
    packed = instead or json.dumps(found).encode()
    head = schema.header(len(data) + len(packed), layout_at=len(data), layout=packed)
    path.write_bytes(head + bytes(data[schema.HEADER_BYTES :]) + packed)
