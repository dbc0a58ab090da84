"""What is labelled: folders, patterns, lists, tables, stores and addresses; and lines that are refused."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pytest
from helpers.colour_finder import made_store
from helpers.colour_labels import PHRASES, label_all, pictures

from risctl.errors import DataError, UsageError
from risctl.labelling import reading
from risctl.labelling.reading import base_name, read_address
from risctl.labelling.sources import images_of
from risctl.labelling.tasks import Task, numbered, phrases_of


def test_folders_and_patterns(tmp_path: Path) -> None:
    pictures(tmp_path / "a" / "b", count=2)
    (tmp_path / "a" / "c.jpg").write_bytes(b"")
    (tmp_path / "a" / ".hidden.jpg").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_text("no picture")
    names = ["a/b/0000.png", "a/b/0001.png", "a/c.jpg"]
    assert [Path(one).relative_to(tmp_path).as_posix() for one, _ in images_of(str(tmp_path))] == names
    assert [one for one, _ in images_of(f"{tmp_path}/a/b/*.png")] == [str(tmp_path / name) for name in names[:2]]
    with pytest.raises(DataError, match="holds no pictures"):
        list(images_of(f"{tmp_path}/a/*.bmp"))
    with pytest.raises(DataError, match=r"nothing at .*; did you mean .*a"):
        list(images_of(f"{tmp_path}/aa"))


def test_lists_and_tables(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("one.jpg\n\n/two.jpg\ns3://bucket/three.jpg\n")
    expected = [str(tmp_path / "one.jpg"), "/two.jpg", "s3://bucket/three.jpg"]
    assert list(images_of(str(tmp_path / "list.txt"))) == [(one, None) for one in expected]
    (tmp_path / "table.csv").write_text("image,phrase\na.jpg,red cup\na.jpg,the  dog\nb.jpg,red cup\na.jpg,cat\n")
    found = list(images_of(str(tmp_path / "table.csv")))
    assert [(Path(one).name, own) for one, own in found] == [
        ("a.jpg", ("red cup", "the dog")),
        ("b.jpg", ("red cup",)),
        ("a.jpg", ("cat",)),
    ]
    (tmp_path / "table.jsonl").write_text('{"image": "a.jpg", "phrases": ["x", "y"]}\n{"file_name": "b.jpg"}\n')
    assert [own for _, own in images_of(str(tmp_path / "table.jsonl"))] == [("x", "y"), None]


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="parquet needs pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"image": ["a.jpg", "b.jpg"], "phrase": ["red", "blue"]})
    parquet.write_table(table, tmp_path / "table.parquet")
    assert [own for _, own in images_of(str(tmp_path / "table.parquet"))] == [("red",), ("blue",)]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("t.csv", "image,phrase\na.jpg,ok\nb.jpg,...\n", "line 3: the phrase '...' has no word"),
        ("t.csv", "image,phrase\na.jpg,ok\n,ok\n", "line 3: expected an image"),
        ("t.csv", "image,phrase\na.jpg,ok,more\n", "line 2: expected the columns"),
        ("t.jsonl", '{"image": "a.jpg"}\n{"image"\n', "line 2: not valid JSON"),
        ("t.jsonl", '{"image": 3}\n', "line 1: expected an image, got 3"),
    ],
)
def test_a_broken_line_is_refused_with_its_number(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=told):
        list(images_of(str(tmp_path / name)))


def test_phrases(tmp_path: Path) -> None:
    assert phrases_of("the red cup; a  dog;") == ("the red cup", "a dog")
    path = tmp_path / "phrases.txt"
    path.write_text("the red cup\n\n a dog \nthe red cup\n")
    assert phrases_of(str(path)) == ("the red cup", "a dog")
    for broken, told in ((b"a dog\n???\n", "line 2: .* has no word"), (b"ok\n\na\x07b\n", "line 3: .* control"),
                         (b"ok\n\xff\xfe\n", "line 2: not UTF-8"), (b"x" * 2000, "line 1: .* characters")):  # fmt: skip
        path.write_bytes(broken)
        with pytest.raises(DataError, match=told):
            phrases_of(str(path))
    with pytest.raises(DataError, match="no file of phrases at"):
        phrases_of(str(tmp_path / "other.txt"))
    with pytest.raises(UsageError, match="has no word"):
        phrases_of("a dog; ?")
    with pytest.raises(UsageError, match=r"there is no phrase for a\.jpg"):
        list(numbered([("a.jpg", None)], None))


def test_a_task_is_read_back_whatever_its_name() -> None:
    task = Task(index=3, image="a\u2028b\udcff.jpg", phrases=("rot \u00e9", '"x"'))
    assert Task.from_line(task.to_line()) == task and task.to_line().count("\n") == 1
    for line in ("3", "[1]", '["a", "b"]', '[1, "a", 2]', "{"):
        with pytest.raises(ValueError, match=r".+"):
            Task.from_line(line)


def test_stores(tmp_path: Path) -> None:
    store = made_store(tmp_path, images=3)
    found = list(images_of(str(store), split="val"))
    assert [one for one, _ in found] == [f"{store.resolve()}#0", f"{store.resolve()}#1"]
    assert found[1][1] == ("red stripe", "red", "green stripe", "green", "blue")
    assert read_address(found[0][0]).shape == (32, 32, 3) and base_name(found[0][0]) == "0.png"
    with pytest.raises(DataError, match="images have rows 0 to 2"):
        read_address(f"{store}#9")


def test_cloud_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = fsspec.filesystem("memory")
    for path in pictures(tmp_path / "pictures", count=5).iterdir():
        system.pipe(f"/label-test/sub/{path.name}", path.read_bytes())
    try:
        remote = [one for one, _ in images_of("memory://label-test")]
        assert [one.rpartition("/")[2] for one in remote] == [f"{number:04d}.png" for number in range(5)]
        assert [one for one, _ in images_of("memory://label-test/sub/*2.png")] == [remote[2]]
        local = list(label_all(tmp_path / "pictures", tmp_path / "local").rows())
        (tmp_path / "list.txt").write_text("\n".join([*remote, "memory://label-test/sub/gone.png"]))
        rows = list(label_all(tmp_path / "list.txt", tmp_path / "out", workers=2).rows())
        same = ("phrase", "score", "segmentation", "box")
        assert [[row[key] for key in same] for row in rows[:10]] == [[row[key] for key in same] for row in local]
        assert "there is no such file" in rows[-1]["error"] and len(rows) == 6 * len(PHRASES)
    finally:
        system.rm("/label-test", recursive=True)


def test_what_passes_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from risctl.network.http_client import BrokenError

    asked = []

    def sometimes(address: str) -> bytes:
        asked.append(address)
        if len(asked) < wanted:
            raise BrokenError("reset")
        return b"data"

    monkeypatch.setattr(reading, "read_bytes", sometimes)
    wanted = reading.TRIES
    assert reading.fetch_address("s3://bucket/a.jpg", pause=0) == b"data" and len(asked) == reading.TRIES
    asked.clear()
    wanted += 1
    with pytest.raises(DataError, match=r"s3://bucket/a.jpg cannot be read, tried 5 times: reset"):
        reading.fetch_address("s3://bucket/a.jpg", pause=0)


def test_pixels_of_a_file(tmp_path: Path) -> None:
    path = pictures(tmp_path / "pictures", count=1) / "0000.png"
    assert np.array_equal(read_address(str(path))[:, 0], np.tile([255, 0, 0], (8, 1)))
