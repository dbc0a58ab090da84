"""Every value of a store is compared with its sum when it is read, and a damaged one is refused by its column."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import store_files
from helpers.store_layout import layout_of, read_whole, rewritten

from risctl.data.store import columns, index, schema
from risctl.data.store.reader import Store
from risctl.data.store.verify import verify_store
from risctl.data.store.writer import write_store
from risctl.errors import DataError


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write_store(store_files.dataset(images=6), tmp_path / "store.h5")
    return tmp_path / "store.h5"


READ = sorted(set(schema.columns()) - {"images/sha256", "images/path/blob", "images/path/offsets"})


@pytest.mark.parametrize("name", READ)
def test_one_changed_bit_of_any_column_is_refused_by_its_name(stored: Path, name: str) -> None:
    column = layout_of(stored)["columns"][name]
    length = int(np.prod(column["shape"])) * np.dtype(column["kind"]).itemsize
    data = bytearray(stored.read_bytes())
    data[column["offset"] + length // 2] ^= 4
    stored.write_bytes(data)
    with Store(stored) as store, pytest.raises(DataError) as caught:
        read_whole(store)
    assert str(stored) in str(caught.value) and f"in {name.removesuffix('/blob')}" in str(caught.value)
    assert "risctl prepare verify" in str(caught.value)
    with Store(stored) as store:
        assert verify_store(store).failures


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("sentences/sent", lambda store: store.sentence(5)),
        ("annotations/counts", lambda store: store.annotation(3)),
        ("images/file_name", lambda store: store.image(2)),
        ("tokens", lambda store: store.sentence(5)),
    ],
)
def test_damage_of_an_open_store_is_noticed_by_its_row(
    stored: Path, name: str, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns, "KEPT_BYTES", 0)
    column = layout_of(stored)["columns"][f"{name}/blob"]
    with Store(stored) as store:
        before = read(store)
        assert read(store) == before
        data = bytearray(stored.read_bytes())
        for place in range(column["offset"], column["offset"] + column["shape"][0]):
            data[place] ^= 1
        with stored.open("r+b") as file:
            file.write(data)
        with pytest.raises(DataError, match=rf"row \d of {name}, since it was opened"):
            read(store)


def test_damage_of_an_open_store_changes_nothing_that_is_kept(stored: Path) -> None:
    with Store(stored) as store:
        before = [store.sentence(row) for row in range(6)]
        mask = store.annotation(3)
        stored.write_bytes(bytes(stored.stat().st_size))
        assert [store.sentence(row) for row in range(6)] == before and store.annotation(3) == mask


def test_columns_longer_than_a_piece_and_rows_longer_than_a_block_are_read_right(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(stored) as store:
        expected = read_whole(store)
    monkeypatch.setattr(columns, "KEPT_BYTES", 0)
    for piece, block, most in ((1, 1, 8), (50, 7, 3), (1000, 512, 1)):
        monkeypatch.setattr(index, "_PIECE_BYTES", piece)
        monkeypatch.setattr(index, "_TEXT_BYTES", block)
        monkeypatch.setattr(index, "_MOST_ROWS", most)
        with Store(stored) as store:
            assert read_whole(store) == expected


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"images/height": [-1]}, "images/height is no height in row 0: -1"),
        ({"images/width": [2**31 - 1]}, "images/width is no width, or too large"),
        ({"images/length": [-5]}, "images/length"),
        ({"images/length": [2**62]}, "images/start leads out of its part"),
        ({"images/start": [2**63 - 1]}, "images/start leads out of its part"),
        ({"images/part": [1]}, "points beyond the parts"),
        ({"annotations/image": [-1]}, "annotations/image points beyond its table in row 0: -1"),
        ({"annotations/image": [1]}, "annotations/image contradicts images/annotations"),
        ({"annotations/box": [[np.nan, 0, 1, 1]]}, "annotations/box has a number that is not finite in row 0"),
        ({"annotations/id": [2]}, "annotations have repeated ids"),
        ({"refs/split": [3]}, "refs/split points beyond its table"),
        ({"refs/annotations/values": [0]}, "ref row 1 has an annotation of another image"),
        ({"sentences/ref": [2**31 - 1]}, "sentences/ref points beyond"),
        ({"sentences/raw/offsets": [0, 2**62]}, "sentences/raw/offsets are not offsets"),
        ({"tokens/offsets": [1]}, "tokens/offsets are not offsets"),
        ({"sentences/abilities/values": [1]}, "sentences/abilities/values points beyond"),
        ({"annotations/counts/blob": list(b"oooo")}, "mask of annotation row 0 does not fill"),
        ({"sentences/sent/blob": [255]}, "row 0 of sentences/sent is no text"),
        (
            {"categories/name/blob": list("\ud800".encode(errors="surrogatepass"))},
            "row 0 of categories/name is no text",
        ),
    ],
)
def test_impossible_values_with_valid_sums_are_refused_by_column_and_row(
    stored: Path, columns: dict[str, Any], message: str
) -> None:
    rewritten(stored, columns)
    with Store(stored) as store, pytest.raises(DataError, match="is damaged") as caught:
        read_whole(store)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "layout",
    [
        *(b"[" * 100_000, b'{"a":' * 100_000, b"[]", b"\xff", b"null"),
        b'{"name": Infinity}',
        b'{"name": NaN}',
        b'{"name": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_layout_that_is_deep_or_no_numbers_is_refused(stored: Path, layout: bytes) -> None:
    rewritten(stored, {}, instead=layout)
    with pytest.raises(DataError, match="its layout is malformed"):
        Store(stored)


@pytest.mark.parametrize(
    "change",
    [
        *({"name": "a\0b"}, {"name": "\ud800"}, {"name": 3}, {"split_by": None}, {"fingerprint": "x"}),
        *({"linked": 1}, {"notes": {"a": -1}}, {"notes": {"\udfff": 1}}, {"notes": []}),
    ],
)
def test_names_that_could_not_be_written_are_refused(stored: Path, change: dict[str, Any]) -> None:
    rewritten(stored, {}, **change)
    with pytest.raises(DataError, match="its layout is malformed"):
        Store(stored)


def test_columns_that_lie_on_each_other_take_no_more_memory_than_the_file(stored: Path) -> None:
    layout = layout_of(stored)
    size = stored.stat().st_size
    for name in schema.TEXTS:
        layout["columns"][f"{name}/blob"].update(offset=0, shape=[size])
    rewritten(stored, {}, columns=layout["columns"])
    with pytest.raises(DataError, match="longer than the file"):
        Store(stored)


def test_what_a_reader_refuses_is_not_written(tmp_path: Path) -> None:
    dataset = store_files.dataset()
    annotation = next(iter(dataset.annotations.values()))
    object.__setattr__(annotation, "box", (float("nan"), 0.0, 1.0, 1.0))
    with pytest.raises(DataError, match="cannot be stored: annotations/box"):
        write_store(dataset, tmp_path / "out.h5")
    dataset = store_files.dataset()
    object.__setattr__(dataset.records[0].expressions[0], "sent", "half \ud83d")
    with pytest.raises(DataError, match="half of a character"):
        write_store(dataset, tmp_path / "out.h5")
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_no_store(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(DataError, match="no regular file"):
        Store(tmp_path / "pipe.h5")


def test_the_error_of_a_loader_process_arrives_whole(stored: Path) -> None:
    rewritten(stored, {"images/height": [-1]})
    with Store(stored) as store, pytest.raises(DataError) as caught:
        store.image(0)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value) and type(copy) is type(caught.value)


def test_verify_lists_all_that_is_damaged(stored: Path) -> None:
    places = layout_of(stored)["columns"]
    data = bytearray(stored.read_bytes())
    for name in ("refs/image", "annotations/box", "tokens/blob"):
        data[places[name]["offset"]] ^= 1
    stored.write_bytes(data)
    with Store(stored) as store:
        assert verify_store(store).failures == ["in annotations/box", "in refs/image", "in tokens/blob"]
    write_store(store_files.dataset(images=6), stored)
    rewritten(stored, {"annotations/counts/blob": list(b"oooo"), "sentences/sent/blob": [255]})
    with Store(stored) as store:
        failures = verify_store(store).failures
    assert any("mask of annotation row 0" in failure for failure in failures)
    assert "row 0 of sentences/sent is no text" in failures
