"""Long columns have sums of every few rows: a row of a large store is read and checked without the others."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import store_files
from helpers.store_layout import layout_of, read_whole, rewritten

from risctl.data.random_access import RandomAccessFile
from risctl.data.store import columns, index, schema
from risctl.data.store.reader import Store
from risctl.data.store.verify import verify_store
from risctl.data.store.writer import write_store
from risctl.errors import DataError


@pytest.fixture
def indexed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that is treated as a large one: sums of all its columns, of few rows each."""
    for name, value in (("LONG_NUMBERS", 0), ("LONG_TEXT", 0), ("_NUMBERS_BYTES", 24), ("_TEXT_BYTES", 40)):
        monkeypatch.setattr(index, name, value)
    return write_store(store_files.dataset(images=9), tmp_path / "store.h5").path


def test_small_stores_have_no_sums_and_are_of_the_first_version(tmp_path: Path) -> None:
    path = write_store(store_files.dataset(images=6), tmp_path / "store.h5").path
    assert b'"schema": 1' in path.read_bytes()[: schema.HEADER_BYTES]
    assert not layout_of(path).keys() & {"sums", "shards"}


def test_a_store_with_sums_reads_as_one_without(indexed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(layout_of(indexed)["sums"]) > 30
    monkeypatch.undo()
    plain = write_store(store_files.dataset(images=9), tmp_path / "plain.h5").path
    for few in (0, 1, 10**6):
        monkeypatch.setattr(columns, "_FEW_READS", few)
        with Store(plain) as one, Store(indexed) as other:
            assert other.fingerprint == one.fingerprint
            assert read_whole(other) == read_whole(one)
            assert other.counts() == one.counts() and not verify_store(other).failures


def test_a_sample_of_a_store_with_sums_reads_few_bytes(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = RandomAccessFile.read

    def counted(self: RandomAccessFile, offset: int, length: int) -> bytes:
        read.append(length)
        return original(self, offset, length)

    def bytes_of_a_sample() -> int:
        with Store(indexed) as store:
            monkeypatch.setattr(RandomAccessFile, "read", counted)
            image = store.sentence(5).image
            before = sum(read)
            store.sample(5)
            monkeypatch.undo()
            return sum(read) - before - len(store.image_bytes(image))

    few = bytes_of_a_sample()
    # The sums are read once: their part falls with the length of the columns.
    sums = sum(one["column"]["shape"][0] * 4 for one in layout_of(indexed)["sums"].values())
    assert 0 < few < 1500 + sums


NUMBERS = ["images/width", "images/length", "annotations/image", "refs/sentences", "sentences/ref", "refs/image"]


@pytest.mark.parametrize("name", [*NUMBERS, "sentences/sent/blob", "tokens/blob", "annotations/counts/blob"])
def test_a_flipped_byte_is_noticed_where_it_is_read(indexed: Path, name: str) -> None:
    column = layout_of(indexed)["columns"][name]
    data = bytearray(indexed.read_bytes())
    size = int(np.prod(column["shape"])) * np.dtype(column["kind"]).itemsize
    data[column["offset"] + size // 2] ^= 1
    indexed.write_bytes(data)
    with Store(indexed) as store, pytest.raises(DataError, match=f"in .*{name.removesuffix('/blob')}"):
        for row in range(len(store.numbers("sentences/id"))):
            store.sample(row)
        for row in range(len(store.numbers("annotations/id"))):
            store.annotation(row)
    with Store(indexed) as store:
        assert verify_store(store).failures


def test_damaged_sums_are_noticed(indexed: Path) -> None:
    column = layout_of(indexed)["sums"]["sentences/sent/blob"]["column"]
    data = bytearray(indexed.read_bytes())
    data[column["offset"]] ^= 1
    indexed.write_bytes(data)
    with Store(indexed) as store, pytest.raises(DataError, match="in the sums of sentences/sent"):
        store.sentence(0)


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("refs/image", [10**6] * 9, "points beyond its table"),
        ("annotations/image", [-1] * 18, "points beyond its table"),
        ("refs/sentences", [10**9, 10**9], "not offsets"),
        ("sentences/sent/offsets", [5, 3], "not offsets"),
        ("images/height", [0] * 9, "is no height"),
        ("images/width", [2**31 - 1] * 9, "no width, or too large"),
        ("images/start", [2**62] * 9, "leads out of its part"),
    ],
)
def test_impossible_numbers_are_refused_in_pieces_too(
    indexed: Path, name: str, values: list[int], problem: str
) -> None:
    found = layout_of(indexed)
    # With sums that fit them, as a store from a stranger may have.
    data = bytearray(indexed.read_bytes())
    column, sums = found["columns"][name], found["sums"][name]
    packed = np.asarray(values, dtype=column["kind"]).tobytes()
    data[column["offset"] : column["offset"] + len(packed)] = packed
    width = int(np.prod(column["shape"][1:])) * np.dtype(column["kind"]).itemsize
    place = sums["column"]["offset"]
    for block in range(sums["column"]["shape"][0]):
        first = column["offset"] + block * sums["rows"] * width
        last = min(first + sums["rows"] * width, column["offset"] + column["shape"][0] * width)
        data[place + 4 * block : place + 4 * block + 4] = np.uint32(zlib.crc32(data[first:last])).tobytes()
    count = sums["column"]["shape"][0]
    sums["column"]["crc32"] = zlib.crc32(data[place : place + 4 * count])
    indexed.write_bytes(data)
    rewritten(indexed, {}, sums=found["sums"])
    with Store(indexed) as store, pytest.raises(DataError, match=problem):
        for row in range(5):
            store.sample(row)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda sums: sums | {"nothing": sums["images/id"]}, "which is no column"),
        (lambda sums: sums | {"images/id": sums["images/id"] | {"rows": 0}}, "has no row"),
        (lambda sums: sums | {"images/id": sums["images/id"] | {"rows": 10**6}}, "are of other rows"),
        (lambda sums: sums | {"images/id": {"rows": 3}}, "malformed"),
    ],
)
def test_a_layout_with_impossible_sums_is_refused(indexed: Path, change: Any, problem: str) -> None:
    rewritten(indexed, {}, sums=change(layout_of(indexed)["sums"]))
    with pytest.raises(DataError, match=problem):
        Store(indexed)
