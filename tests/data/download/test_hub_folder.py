"""Datasets of the hub: fetched from a server that answers as it does, unpacked, and read without --from."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from helpers.command_line import Run, risctl
from helpers.hub_dataset import hub_with
from helpers.video_files import write_mevis

from risctl.data.datasets.registry import DATASETS, find_dataset
from risctl.data.download.fetching import Downloads
from risctl.data.download.hub_folder import fetch_hub_folder
from risctl.data.download.tar_archives import holds_its_own_folder, unpack_tar
from risctl.data.prepare import prepare_dataset
from risctl.data.store.reader import Store
from risctl.errors import DataError, MachineError, UsageError

__all__ = ["risctl"]


def tarred(files: dict[str, bytes], *, kind: bytes = tarfile.REGTYPE) -> bytes:
    """The bytes of a tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.type = (len(data), kind) if kind == tarfile.REGTYPE else (0, kind)
            entry.linkname = "/etc/passwd" if kind != tarfile.REGTYPE else ""
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def as_published(root: Path) -> dict[str, bytes]:
    """The files of MeViS v2 as the hub has them: the frames of a split in a tar."""
    files: dict[str, bytes] = {}
    for split in sorted(path for path in root.iterdir() if path.is_dir()):
        frames = split / "JPEGImages"
        files[f"{split.name}/JPEGImages.tar"] = tarred(
            {file.relative_to(frames).as_posix(): file.read_bytes() for file in sorted(frames.rglob("*.jpg"))}
        )
        files |= {f"{split.name}/{file.name}": file.read_bytes() for file in split.glob("*.json")}
    return files


def test_a_set_of_the_hub_is_fetched_once_unpacked_and_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = as_published(write_mevis(tmp_path / "published", meta="meta_expressions_v2.json"))
    dataset, root = find_dataset("mevis-v2"), tmp_path / "data"
    downloads = Downloads(root=root, agree=lambda _: True)
    with hub_with("FudanCVL/MeViSv2", files, tmp_path / "cache", monkeypatch) as asked:
        first = prepare_dataset(dataset, out=root / "a.h5", downloads=downloads)
        record = json.loads((root / "downloads" / "mevis-v2.hub.json").read_text())
        assert record["dataset"] == "FudanCVL/MeViSv2" and len(record["files"]) == len(files)
        assert all(one["bytes"] == len(files[one["file"]]) and len(one["sha256"]) == 64 for one in record["files"])
        asked.clear()
        again = prepare_dataset(dataset, out=root / "b.h5", downloads=downloads)
        assert not asked and again.store.fingerprint == first.store.fingerprint
    own = prepare_dataset(dataset, out=root / "c.h5", source=tmp_path / "published")
    assert own.store.fingerprint == first.store.fingerprint
    with Store(root / "a.h5") as store:
        assert store.pixels(0).shape[2] == 3


def test_gigabytes_are_fetched_only_with_consent_and_a_gated_set_says_what_to_do(
    risctl: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = as_published(write_mevis(tmp_path / "published", meta="meta_expressions_v2.json"))
    with hub_with("FudanCVL/MeViSv2", files, tmp_path / "cache", monkeypatch, gated=True) as asked:
        code, _, err = risctl("prepare", "mevis-v2", "--data-root", tmp_path / "data")
        assert code == 2 and "with --yes" in err and not asked
        code, _, err = risctl("prepare", "mevis-v2", "--data-root", tmp_path / "data", "--yes", "-q")
        assert code == 5 and len(err.splitlines()) == 1
        assert "accept its terms at huggingface.co/datasets/FudanCVL/MeViSv2" in err and "--from" in err
    assert not (tmp_path / "data" / "downloads").exists()


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MachineError, match="cannot be had from the hub"):
        fetch_hub_folder("OWNER/none", tmp_path, name="none", wanted=(), stage=_stage)


def _stage(_: str) -> AbstractContextManager[None]:
    return nullcontext()


@pytest.mark.parametrize("name", ["mevis", "reasonseg", "rrsis-d", "saco"])
def test_what_no_program_can_fetch_says_where_it_is(risctl: Run, tmp_path: Path, name: str) -> None:
    code, out, err = risctl("prepare", name, "--data-root", tmp_path)
    assert (code, out) == (2, "") and "cannot be downloaded by a program" in err
    assert DATASETS[name].obtain.split()[0] in err and not [*tmp_path.iterdir()]


def test_tables_are_read_from_the_hub_without_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    pytest.importorskip("pyarrow")
    from helpers.concept_files import ConceptCase

    case = ConceptCase.read(shared)
    table = tmp_path / "dense.parquet"
    case.write_pbench(table)
    with hub_with("tiiuae/PBench", {"data/dense.parquet": table.read_bytes()}, tmp_path / "cache", monkeypatch):
        found = prepare_dataset(
            find_dataset("pbench"), out=tmp_path / "hub.h5", downloads=Downloads(root=tmp_path / "data")
        )
    own = prepare_dataset(find_dataset("pbench"), out=tmp_path / "own.h5", source=table)
    assert found.store.fingerprint == own.store.fingerprint


def test_an_archive_with_a_folder_of_its_name_makes_no_second_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("set/a.txt", "a")
    files = {"set.zip": packed.getvalue(), "other.tar": tarred({"b/c.txt": b"c"}), "x/plain.txt": b"p", "no.bin": b"n"}
    with hub_with("owner/name", files, tmp_path / "cache", monkeypatch):
        found = fetch_hub_folder(
            "owner/name", tmp_path / "data", name="name", wanted=("set", "other", "x/"), stage=_stage
        )
    assert {path.relative_to(found).as_posix() for path in found.rglob("*.*")} == {
        "set/a.txt",
        "other/b/c.txt",
        "x/plain.txt",
    }


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "a\\..\\out.txt"])
def test_a_tar_that_leads_out_of_its_folder_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(tarred({"good.txt": b"1", name: b"2"}))
    with pytest.raises(DataError, match="leads out of the folder"):
        unpack_tar(path, tmp_path / "to")
    assert not [*tmp_path.rglob("*.txt")]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    path = tmp_path / "bad.tar"
    path.write_bytes(tarred({"link.txt": b""}, kind=kind))
    with pytest.raises(DataError, match="a link or device"):
        unpack_tar(path, tmp_path / "to")


def test_a_damaged_tar_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bad.tar"
    for data in (b"", b"no tar at all", tarred({"a.txt": b"1" * 3000})[:2000]):
        path.write_bytes(data)
        if len(data) < 1000:  # of one that is cut, only reading it tells
            with pytest.raises(DataError, match="download it again"):
                holds_its_own_folder(path, "a")
        with pytest.raises(DataError, match="download it again"):
            unpack_tar(path, tmp_path / "to")
    assert not [*tmp_path.rglob("*.txt")]


def test_without_consent_the_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="download iSEE-Laboratory/Long-RVOS from the hub with --yes"):
        prepare_dataset(find_dataset("long-rvos"), out=tmp_path / "a.h5", downloads=Downloads(root=tmp_path))
