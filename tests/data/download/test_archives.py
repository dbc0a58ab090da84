"""Unpacking zips from elsewhere: nothing gets out of the folder, and nothing half done stays."""

from __future__ import annotations

import shutil
import stat
import zipfile
from pathlib import Path

import pytest
from helpers.full_disk import files_of_at_most

from risctl.data.download.archives import check_zip, unpack
from risctl.errors import DataError, MachineError


def make(path: Path, entries: dict[str, bytes], *, mode: int | None = None) -> Path:
    """Write a zip; `mode` is the kind and permissions of its entries."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            info = zipfile.ZipInfo(name)
            info.filename = name  # ZipInfo tidies names up
            if mode is not None:
                info.external_attr = mode << 16
            archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    return path


def test_files_land_where_they_belong_beside_what_is_there(tmp_path: Path) -> None:
    archive = make(
        tmp_path / "a.zip", {"refcoco/": b"", "refcoco/refs(unc).p": b"new", "x/y/z": b"3", "__MACOSX/j": b""}
    )
    folder = tmp_path / "data"
    (folder / "refcoco").mkdir(parents=True)
    (folder / "refcoco" / "mine").write_text("mine")
    (folder / "refcoco" / "refs(unc).p").write_text("old")
    (folder / ".unpacking-dead").mkdir()
    steps: list[tuple[int, int]] = []
    written = unpack(archive, folder, progress=lambda *step: steps.append(step))
    assert written == [folder / "refcoco" / "refs(unc).p", folder / "x/y/z"]
    assert (folder / "refcoco" / "refs(unc).p").read_bytes() == b"new"
    assert (folder / "refcoco" / "mine").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["refcoco", "x"]
    assert steps == [(3, 4), (4, 4)]


BAD_NAMES = [
    "../out",
    "a/../../out",
    "/etc/out",
    "C:/out",
    "C:out",
    "\\\\host\\share\\out",
    "..\\out",
    "a\\b",
    "a/\n",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_leads_out_is_refused_and_nothing_written(tmp_path: Path, name: str) -> None:
    archive = make(tmp_path / "a.zip", {"good": b"1", name: b"2"})
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack(archive, tmp_path / "inner" / "data")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, kind: int) -> None:
    archive = make(tmp_path / "a.zip", {"link": b"/etc/passwd"}, mode=kind | 0o777)
    with pytest.raises(DataError, match="link or device"):
        unpack(archive, tmp_path / "data")


def test_count_and_size_are_bounded(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", {str(index): bytes(1000) for index in range(20)})
    with pytest.raises(DataError, match="20 files; at most 19"):
        unpack(archive, tmp_path / "data", max_files=19)
    with pytest.raises(DataError, match="20,000 bytes; at most 19,999"):
        unpack(archive, tmp_path / "data", max_bytes=19_999)
    assert len(unpack(archive, tmp_path / "data", max_files=20, max_bytes=20_000)) == 20


def test_an_entry_longer_than_it_says_is_refused(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", {"bomb": bytes(100_000)})
    data = archive.read_bytes()
    archive.write_bytes(data.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(DataError):
        unpack(archive, tmp_path / "data", max_bytes=1000)
    assert not list((tmp_path / "data").rglob("*"))


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("a", "1")
        archive.writestr("a", "2")
    with pytest.raises(DataError, match="twice"):
        unpack(tmp_path / "a.zip", tmp_path / "data")


def test_a_damaged_entry_leaves_nothing(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", {"a": b"1" * 50, "b": bytes(range(256)) * 20})
    data = bytearray(archive.read_bytes())
    data[data.index(b"b", 60) + 20] ^= 0xFF
    archive.write_bytes(data)
    check_zip(archive)
    with pytest.raises(DataError, match="is damaged"):
        unpack(archive, tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_a_zip_without_its_end_is_no_zip(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", {"a": b"1" * 50})
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(DataError, match="not a complete zip"):
        check_zip(archive)
    with pytest.raises(DataError, match="is damaged"):
        unpack(archive, tmp_path / "data")


def test_a_disk_that_is_too_small_is_said_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make(tmp_path / "a.zip", {"a": bytes(5000)})
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(MachineError, match="GB free"):
        unpack(archive, tmp_path / "data")


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path) -> None:
    archive = make(tmp_path / "a.zip", {"a": b"1" * 50, "b": bytes(200_000)})
    with files_of_at_most(100_000), pytest.raises(MachineError, match="no space left to write"):
        unpack(archive, tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())
    assert len(unpack(archive, tmp_path / "data")) == 2


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])
def test_damaged_contents_are_one_error_whatever_the_method(tmp_path: Path, method: int) -> None:
    path = tmp_path / "a.zip"
    content = bytes(range(256)) * 200
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.txt", content)
    assert [one.read_bytes() for one in unpack(path, tmp_path / "whole")] == [content]
    data = bytearray(path.read_bytes())
    for place in (60, 61, len(data) // 2):
        data[place] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"damaged.*download it again"):
        unpack(path, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_lzma_which_may_ask_for_any_memory_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(DataError, match="another method than stored, deflated, bzip2"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
