"""Reads a store by the words of its format, without risctl: what risctl's reader is compared with."""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

HEADER = 512  # bytes
Layout = dict[str, Any]


class ImpossibleError(Exception):
    """A file that no reader may take."""


def layout_of(data: bytes | bytearray) -> Layout:
    offset, length, _ = json.loads(bytes(data[:HEADER]).split(b"\n", 1)[0])["layout"]
    layout: Layout = json.loads(bytes(data[offset : offset + length]))
    return layout


def size_of(column: Layout) -> int:
    return math.prod(column["shape"]) * np.dtype(column["kind"]).itemsize


def values_of(data: bytes | bytearray, column: Layout) -> np.ndarray:
    return np.frombuffer(bytes(data[column["offset"] : column["offset"] + size_of(column)]), column["kind"]).reshape(
        column["shape"]
    )


def content(data: bytes) -> dict[str, Any]:
    """Reads a store by the words of its format, without risctl. Raises `ImpossibleError`."""
    try:
        return _plainly(data)
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        AttributeError,
        RecursionError,
        OverflowError,
        OSError,
    ) as error:
        raise ImpossibleError(str(error)) from error


def _plainly(data: bytes) -> dict[str, Any]:
    layout = layout_of(data)
    columns = {name: values_of(data, one) for name, one in layout["columns"].items()}

    def text(name: str, row: int) -> str:
        start, stop = _span(columns[f"{name}/offsets"], row)
        blob = columns[f"{name}/blob"]
        if stop > len(blob):
            raise ValueError(name)
        strict = name not in ("images/file_name", "images/path")
        return blob[start:stop].tobytes().decode("utf-8", errors="strict" if strict else "surrogatepass")

    def rows(name: str) -> range:
        return range(len(columns[name]))

    def picture(row: int) -> bytes:
        length = int(columns["images/length"][row])
        if layout["linked"]:
            found = Path(text("images/path", row)).read_bytes() if text("images/path", row).endswith(".png") else b""
        else:
            part, start = (
                layout["parts"][_row(int(columns["images/part"][row]), len(layout["parts"]))],
                int(columns["images/start"][row]),
            )
            found = data[part["offset"] + _row(start, part["shape"][0] + 1) :][:length]
        if len(found) != length or zlib.crc32(found) != columns["images/crc32"][row]:
            raise ValueError("image")
        return found

    def counts(row: int) -> str:
        image = _row(int(columns["annotations/image"][row]), len(columns["images/id"]))
        mask = text("annotations/counts", row)
        if _runs(mask) != int(columns["images/height"][image]) * int(columns["images/width"][image]):
            raise ValueError("mask")
        return mask

    splits = [text("splits", row) for row in range(len(columns["splits/offsets"]) - 1)]
    abilities = [text("abilities", row) for row in range(len(columns["abilities/offsets"]) - 1)]
    images, refs, annotations = (len(columns[f"{table}/id"]) for table in ("images", "refs", "annotations"))
    found = {"name": layout["name"], "split_by": layout["split_by"]}
    found["categories"] = {
        int(columns["categories/id"][row]): text("categories/name", row) for row in rows("categories/id")
    }
    found["images"] = [
        (
            *(int(columns["images/id"][row]), text("images/file_name", row)),
            *(int(columns["images/height"][row]), int(columns["images/width"][row])),
            *(_filled(columns["images/annotations"], row), picture(row)),
        )
        for row in rows("images/id")
    ]
    found["annotations"] = [
        (
            *(int(columns["annotations/id"][row]), _row(int(columns["annotations/image"][row]), images)),
            *(int(columns["annotations/category"][row]), tuple(columns["annotations/box"][row].tolist())),
            *(bool(columns["annotations/crowd"][row]), counts(row)),
        )
        for row in rows("annotations/id")
    ]
    found["refs"] = [
        (
            *(int(columns["refs/id"][row]), _row(int(columns["refs/image"][row]), images)),
            splits[_row(int(columns["refs/split"][row]), len(splits))],
            tuple(
                _row(int(one), annotations)
                for one in columns["refs/annotations/values"][slice(*_span(columns["refs/annotations/offsets"], row))]
            ),
            _filled(columns["refs/sentences"], row),
        )
        for row in rows("refs/id")
    ]
    found["sentences"] = [
        (
            *(int(columns["sentences/id"][row]), _row(int(columns["sentences/ref"][row]), refs)),
            *(text("sentences/raw", row), text("sentences/sent", row)),
            tuple(text("tokens", one) for one in range(*_span(columns["sentences/tokens/offsets"], row))),
            tuple(
                abilities[_row(int(one), len(abilities))]
                for one in columns["sentences/abilities/values"][
                    slice(*_span(columns["sentences/abilities/offsets"], row))
                ]
            ),
        )
        for row in rows("sentences/id")
    ]
    return found


def _span(offsets: np.ndarray, row: int) -> tuple[int, int]:
    start, stop = offsets[row : row + 2].tolist()
    if not 0 <= start <= stop:
        raise ValueError("offsets")
    return start, stop


def _filled(offsets: np.ndarray, row: int) -> tuple[int, int] | None:
    start, stop = _span(offsets, row)
    return (start, stop) if start < stop else None


def _row(row: int, count: int) -> int:
    if not 0 <= row < count:
        raise ValueError("row")
    return row


def _runs(counts: str) -> int:
    """Returns how many pixels COCO's compressed counts cover."""
    runs: list[int] = []
    value = shift = 0
    for code in counts.encode("ascii"):
        if not 0 <= code - 48 < 64:
            raise ValueError("counts")
        value |= (code - 48 & 31) << shift
        shift += 5
        if code - 48 & 32:
            continue
        value -= (code - 48 & 16) and 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
        if runs[-1] < 0:
            raise ValueError("counts")
    if shift:
        raise ValueError("counts")
    return sum(runs)
