"""Tables of one's own, files by address, and files that are only checked."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from helpers import custom_files, http_server

from risctl.data.datasets.custom import read
from risctl.data.datasets.custom.issues import MOST_KEPT
from risctl.data.datasets.custom.read import CheckedFile, check_custom
from risctl.data.download import addresses
from risctl.data.download.addresses import AddressedFiles, is_address, joined, shown_name
from risctl.errors import DataError, MachineError
from risctl.vision import rle

SQUARE = custom_files.square()
COLUMNS = ("file_name", "text", "mask", "box", "split", "category", "abilities", "id")
ROWS: Sequence[tuple[str, ...]] = (
    ("photos/1.jpg", "the red cup", "masks/1.png", "", "train", "cup", "colour, place", "7"),
    ("photos/1.jpg", "the cup, again", json.dumps([custom_files.SQUARE]), "", "train", "cup", "", "8"),
    ("photos/1.jpg", "the same\nby runs", json.dumps(rle.encode(SQUARE)), "", "train", "cup", "", "9"),
    ("photos/1.jpg", "the box", "", "10 5 20 20", "train", "cup", "[]", "10"),
    ("photos/2.jpg", "a zebra", "", "", "test", "", "", "11"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2):
        custom_files.write_image(tmp_path / f"photos/{number}.jpg", seed=number)
    custom_files.mask_file(tmp_path / "masks/1.png", SQUARE)
    return tmp_path


def write_csv(path: Path, rows: Sequence[Sequence[str]] = ROWS, *, delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter).writerows([COLUMNS, *rows])
    return path


def write_parquet(path: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    records: list[dict[str, Any]] = [
        {key: value or None for key, value in zip(COLUMNS, row, strict=True)} for row in ROWS
    ]
    for record in records:
        record["id"] = int(record["id"])
        record["abilities"] = ["colour", "place"] if record["id"] == 7 else []
        record["box"] = None if record["box"] is None else [float(side) for side in record["box"].split()]
    parquet.write_table(pyarrow.Table.from_pylist(records), path)
    return path


def check_rows(checked: CheckedFile) -> None:
    assert checked.dataset is not None, checked.problems
    dataset = checked.dataset
    assert [one.expressions[0].raw for one in dataset.records] == [row[1] for row in ROWS]
    assert [one.ref_id for one in dataset.records] == [7, 8, 9, 10, 11]
    for record in dataset.records[:4]:
        [number] = record.annotation_ids
        assert np.array_equal(rle.decode(dataset.annotations[number].mask), SQUARE)
    assert dataset.records[4].annotation_ids == () and dataset.records[4].split == "test"
    assert dataset.records[0].expressions[0].abilities == ("colour", "place")
    assert set(dataset.categories.values()) == {"cup"}


def test_a_table_is_read_with_every_kind_of_mask(folder: Path) -> None:
    check_rows(check_custom(write_csv(folder / "cups.csv")))
    check_rows(check_custom(write_csv(folder / "cups.tsv", delimiter="\t")))
    (folder / "cups.csv").rename(folder / "metadata.csv")
    check_rows(check_custom(folder))


def test_parquet_is_read_like_csv(folder: Path) -> None:
    check_rows(check_custom(write_parquet(folder / "cups.parquet")))
    check_rows(check_custom(folder))


def test_problems_of_tables_have_their_lines(folder: Path) -> None:
    rows = [
        ROWS[2],
        ("none.jpg", "a", "", "", "train", "", "", ""),
        ("photos/1.jpg", "b", "", "1 2 x 4", "train", "", "", ""),
        ("photos/1.jpg", "c", "[1, 2", "", "train", "", "", ""),
        ("photos/1.jpg", "d", "", "1 2 3 0", "train", "", "", "one"),
        ("photos/1.jpg", "e", "", "1 2 3 0", "train", "", "", ""),
        (*ROWS[0], "more"),
    ]
    checked = check_custom(write_csv(folder / "cups.csv", rows))
    # The first entry takes two lines.
    assert [one.line for one in checked.problems] == [4, 5, 6, 7, 8, 9]
    messages = " ".join(one.message for one in checked.problems)
    for part in ("no picture at", "box: expected x, y", "mask: not valid JSON", "id: expected a whole", "more cells"):
        assert part in messages
    (folder / "other.csv").write_text("picture,words\n1,2\n")
    with pytest.raises(DataError, match="expected the columns image"):
        check_custom(folder / "other.csv")
    (folder / "torn.csv").write_text('file_name,text\na.jpg,"open')
    with pytest.raises(DataError, match="no table of comma-separated values"):
        check_custom(folder / "torn.csv")
    (folder / "torn.parquet").write_bytes(b"PAR1")
    pytest.importorskip("pyarrow")
    with pytest.raises(DataError, match="cannot be read as parquet"):
        check_custom(folder / "torn.parquet")


def test_files_of_addresses_are_fetched_once(folder: Path, tmp_path: Path) -> None:
    with http_server.running() as site:
        site.answers["/a/1.jpg"] = http_server.serve((folder / "photos/1.jpg").read_bytes())
        site.answers["/a/1.png"] = http_server.serve((folder / "masks/1.png").read_bytes())
        entry = {"image": f"{site.address}/a/1.jpg", "text": "it", "mask": f"{site.address}/a/1.png"}
        path = custom_files.lines(folder / "remote.jsonl", [entry, entry | {"text": "again"}])
        for _ in range(2):
            checked = check_custom(path, remote=tmp_path / "kept")
            assert checked.dataset is not None, checked.problems
        [image] = checked.dataset.images.values()
        assert image.file_name == f"{site.address.removeprefix('http://')}/a/1.jpg"
        [annotation] = checked.dataset.annotations.values()
        assert np.array_equal(rle.decode(annotation.mask), SQUARE)
        # The same pictures below an address that all start from.
        checked = check_custom(
            custom_files.lines(folder / "below.jsonl", [{"image": "1.jpg", "text": "it", "mask": None}]),
            images=f"{site.address}/a",
            remote=tmp_path / "kept",
        )
        assert checked.dataset is not None, checked.problems
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_table_in_cloud_storage_brings_its_pictures(folder: Path, tmp_path: Path) -> None:
    system = fsspec.filesystem("memory")
    table = write_csv(folder / "cups.csv")
    for path in (table, folder / "photos/1.jpg", folder / "photos/2.jpg", folder / "masks/1.png"):
        system.pipe_file(f"/bucket/{path.relative_to(folder).as_posix()}", path.read_bytes())
    try:
        checked = check_custom("memory://bucket/cups.csv", remote=tmp_path / "kept")
        check_rows(checked)
        assert checked.dataset is not None and checked.dataset.name == "cups"
        assert {one.file_name for one in checked.dataset.images.values()} == {
            "bucket/photos/1.jpg",
            "bucket/photos/2.jpg",
        }
    finally:
        system.rm("/bucket", recursive=True)


def test_addresses_that_cannot_be_read_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = AddressedFiles(tmp_path)
    system = fsspec.filesystem("memory")
    system.pipe_file("/large/1.jpg", bytes(100))
    try:
        with pytest.raises(DataError, match="it has more than 99 bytes"):
            files.local("memory://large/1.jpg", max_bytes=99)
    finally:
        system.rm("/large", recursive=True)
    with pytest.raises(DataError, match="there is no such file"):
        files.local("memory://large/2.jpg")
    for address in ("file:///etc/hostname", "ftp://a/b.jpg", "simplecache::memory://a/b.jpg"):
        with pytest.raises(DataError, match="expected an address of http://, https://, s3://"):
            files.local(address)
    with http_server.running() as site, pytest.raises(DataError, match="the server answers 404"):
        files.local(f"{site.address}/none.jpg")
    assert not list(tmp_path.iterdir())

    def absent(_: str) -> None:
        raise ImportError("no such package")

    monkeypatch.setattr("fsspec.core.url_to_fs", absent)
    for scheme, command in (("s3", r"pip install 'risctl\[s3\]'"), ("gs", r"pip install 'risctl\[gcs\]'")):
        with pytest.raises(MachineError, match=command):
            files.local(f"{scheme}://bucket/a.jpg")


def test_addresses_are_told_from_paths_and_joined_within() -> None:
    assert is_address("s3://a/b") and not is_address("a/b") and not is_address(3)
    assert (
        joined("s3://a/b/", "c d.jpg") == "s3://a/b/c d.jpg" and joined("https://a", "c d.jpg") == "https://a/c%20d.jpg"
    )
    for name in ("../c.jpg", "/c.jpg", "", "d/../../c.jpg"):
        with pytest.raises(DataError, match="leads out of"):
            joined("s3://a/b", name)
    assert shown_name("https://me:secret@host/a/b.jpg?key=1") == "host/a/b.jpg"
    assert addresses.MAX_IMAGE_BYTES == 200_000_000


@pytest.mark.parametrize("splits", ["given", "shared"])
def test_a_file_that_is_only_checked_is_reported_like_one_that_is_read(folder: Path, splits: str) -> None:
    entries = []
    for number in range(12):
        custom_files.write_image(folder / f"photos/{number}.jpg", seed=number)
        entry = {"image": f"photos/{number}.jpg", "texts": ["it", "that"], "mask": custom_files.SQUARE}
        for text, mask in (("nothing", None), ("it", [0, 0, 9, 0, 9, 9])):
            entries.append({"image": entry["image"], "text": text, "mask": mask})
        entries.append(entry)
    if splits == "given":
        entries = [one | {"split": "train" if number % 5 else "test"} for number, one in enumerate(entries)]
    path = custom_files.lines(folder / "x.jsonl", entries)
    whole, checked = check_custom(path), check_custom(path, keep=False)
    assert whole.dataset is not None and checked.dataset is None
    assert checked.counts == whole.counts == whole.dataset.counts()
    assert checked.warnings == whole.warnings and len(checked.warnings) >= 12
    # Problems, too.
    entries[3]["id"] = entries[7]["id"] = 5
    entries[4]["image_id"], entries[5]["image_id"] = 1, 2
    entries[6]["mask"] = [1, 2]
    entries[8]["text"] = ""
    path = custom_files.lines(folder / "y.jsonl", [*entries, "{"])
    whole, checked = check_custom(path), check_custom(path, keep=False)
    assert checked.problems == whole.problems and len(checked.problems) >= 5
    assert checked.warnings == whole.warnings and not checked.counts


def test_problems_beyond_ten_thousand_are_counted(folder: Path) -> None:
    path = custom_files.lines(folder / "x.jsonl", ["{"] * (MOST_KEPT + 7))
    checked = check_custom(path, keep=False)
    assert len(checked.problems) == MOST_KEPT and checked.problem_count == MOST_KEPT + 7
    assert "and 10,002 more" in str(read.refusal(checked))


def test_a_line_without_end_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("risctl.data.datasets.custom.entries.LONGEST_LINE", 100)
    entry = {"image": "photos/1.jpg", "text": "it", "mask": None}
    path = custom_files.lines(folder / "x.jsonl", [entry, entry | {"text": "a" * 200}, entry])
    [problem] = check_custom(path, keep=False).problems
    assert problem.line == 2 and "is longer than 100 bytes" in problem.message
