"""From published files, or a server that has them, to a store."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import http_server, refer_files
from helpers.http_server import Site, serve, status

from risctl.data.datasets.descriptor import DatasetDescriptor
from risctl.data.datasets.image_collections import COCO_TRAIN2014
from risctl.data.datasets.registry import find_dataset
from risctl.data.download.fetching import Downloads
from risctl.data.download.mirrors import RetryPolicy
from risctl.data.download.source import Source
from risctl.data.prepare import prepare_dataset, verify_prepared
from risctl.data.store.reader import Store
from risctl.errors import DataError, MachineError, UsageError


@pytest.mark.parametrize("name", ["refcoco", "refcoco+", "refcocog"])
def test_the_published_extract_is_prepared_and_verified(refer_mini: Path, tmp_path: Path, name: str) -> None:
    prepared = prepare_dataset(find_dataset(name), source=refer_mini, out=tmp_path / "s.h5", verify=True)
    print(prepared.table())
    with Store(prepared.store.path) as store:
        counts = store.counts()
        annotations = len(store.numbers("annotations/id"))
    assert {split: row for split, row in prepared.counts.items() if split != "total"} == counts
    assert prepared.verification is not None
    assert prepared.verification.checked["masks compared with their polygons"] == annotations
    # The extract is a small part of the published set, and the differences say so with both numbers.
    total = prepared.counts["total"]
    assert any(f"{total['sentences']:,} sentences; published" in line for line in prepared.differences)
    assert prepared.as_json()["counts"] == prepared.counts


def test_all_three_extracts_together_have_the_counts_told_of_them(refer_mini: Path, tmp_path: Path) -> None:
    totals = [
        prepare_dataset(find_dataset(name), source=refer_mini, out=tmp_path / f"{name}.h5").counts["total"]
        for name in ("refcoco", "refcoco+", "refcocog")
    ]
    assert sum(total["refs"] for total in totals) == 38
    assert sum(total["sentences"] for total in totals) == 90


def test_a_missing_image_is_refused_or_left_out(tmp_path: Path) -> None:
    root = refer_files.write(tmp_path / "root")
    out = tmp_path / "s.h5"
    prepare_dataset(find_dataset("refcoco"), source=root, out=out)
    before = out.read_bytes()
    (root / "images/train2014" / refer_files.file_name(3)).unlink()
    with pytest.raises(DataError, match="--allow-missing"):
        prepare_dataset(find_dataset("refcoco"), source=root, out=out)
    assert out.read_bytes() == before
    prepared = prepare_dataset(find_dataset("refcoco"), source=root, out=out, allow_missing=True)
    assert prepared.counts["total"] == {"images": 2, "refs": 3, "sentences": 5}
    assert prepared.warnings == ("1 pictures missing, left out",)


def test_google_split_refcocog_is_warned_about(tmp_path: Path) -> None:
    root = refer_files.write(tmp_path / "root", folder="refcocog", split_by="google")
    prepared = prepare_dataset(find_dataset("refcocog"), source=root, out=tmp_path / "s.h5", split_by="google")
    assert any("no test split" in line for line in prepared.warnings)


def test_verify_finds_a_mask_that_is_not_the_published_one(tmp_path: Path) -> None:
    root = refer_files.write(tmp_path / "root")
    prepare_dataset(find_dataset("refcoco"), source=root, out=tmp_path / "s.h5")
    refs, instances = refer_files.published()
    instances["annotations"][1] = refer_files.square(101, 1, 30, 10, 19)
    refer_files.write(tmp_path / "root", refs=refs, instances=instances)
    path = root / "refcoco" / "instances.json"
    with pytest.raises(DataError, match="the mask of annotation 101 is not what"):
        verify_prepared(tmp_path / "s.h5", instances=path)
    instances["annotations"] = instances["annotations"][2:]
    refer_files.write(tmp_path / "root", refs=refs, instances=instances)
    with pytest.raises(DataError, match=r"annotation 100 is not in"):
        verify_prepared(tmp_path / "s.h5", instances=path)
    assert verify_prepared(tmp_path / "s.h5", instances=None).checked["masks well formed"] == 5


def test_a_box_that_is_not_around_its_mask_is_odd_not_wrong(tmp_path: Path) -> None:
    refs, instances = refer_files.published()
    instances["annotations"][0]["bbox"] = [20, 20, 5, 5]
    root = refer_files.write(tmp_path / "root", refs=refs, instances=instances)
    prepared = prepare_dataset(find_dataset("refcoco"), source=root, out=tmp_path / "s.h5", verify=True)
    assert prepared.verification and prepared.verification.warnings[0].startswith("1 of 5 published boxes")


def test_too_small_a_disk_is_said_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = refer_files.write(tmp_path / "root")
    usage = shutil.disk_usage(tmp_path)._replace(free=10)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(MachineError, match="--link"):
        prepare_dataset(find_dataset("refcoco"), source=root, out=tmp_path / "s.h5")
    prepare_dataset(find_dataset("refcoco"), source=root, out=tmp_path / "s.h5", link=True)


# Downloading.


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http_server.running() as running:
        yield running


def zipped(root: Path, folder: str) -> bytes:
    """Return a zip of `root / folder`, its paths from there."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in sorted((root / folder).rglob("*")):
            if file.is_file():
                archive.write(file, str(file.relative_to((root / folder).parent)))
    return buffer.getvalue()


@pytest.fixture
def refcoco(site: Site, tmp_path: Path) -> DatasetDescriptor:
    """A small RefCOCO on a server that first answers 404 elsewhere and drops connections here."""
    published = refer_files.write(tmp_path / "published")
    annotations = zipped(published, "refcoco")
    pictures = zipped(published, "images/train2014")
    site.answers["/refcoco.zip"] = serve(annotations, drop_after=700)
    site.answers["/train2014.zip"] = serve(pictures, drop_after=2000)

    def source(path: str, folder: str, body: bytes) -> Source:
        return Source(
            file_name=path.strip("/"),
            mirrors=(site.url("/absent" + path), site.url(path)),
            folder=folder,
            about=1_000_000,
            provides="" if folder else "refcoco/instances.json",
            size=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
        )

    images = replace(COCO_TRAIN2014, sources=(source("/train2014.zip", "images", pictures),))
    return replace(find_dataset("refcoco"), sources=(source("/refcoco.zip", "", annotations),), images=images)


@pytest.fixture
def downloads(tmp_path: Path) -> Downloads:
    return Downloads(
        root=tmp_path / "data", agree=lambda question: True, retries=RetryPolicy(sleep=lambda seconds: None)
    )


def test_what_is_missing_is_downloaded_once(
    site: Site, refcoco: DatasetDescriptor, downloads: Downloads, tmp_path: Path
) -> None:
    stages: list[str] = []

    @contextmanager
    def stage(label: str) -> Iterator[Callable[[int, int | None], None]]:
        stages.append(label)
        yield lambda done, total: None

    prepared = prepare_dataset(refcoco, out=tmp_path / "s.h5", downloads=downloads, verify=True, stage=stage)
    assert prepared.counts["total"] == {"images": 3, "refs": 4, "sentences": 6}
    assert stages[:4] == [
        "downloading refcoco.zip",
        "unpacking refcoco.zip",
        "downloading train2014.zip",
        "unpacking train2014.zip",
    ]
    assert sorted(path.name for path in (downloads.root / "downloads").iterdir()) == [
        "refcoco.zip.json",
        "train2014.zip.json",
    ]
    asked = len(site.requests)
    again = prepare_dataset(refcoco, out=tmp_path / "again.h5", downloads=downloads)
    assert again.store.fingerprint == prepared.store.fingerprint
    assert len(site.requests) == asked


def test_the_many_gigabytes_are_asked_for(
    site: Site, refcoco: DatasetDescriptor, downloads: Downloads, tmp_path: Path
) -> None:
    asked: list[str] = []

    def refuse(question: str) -> bool:
        asked.append(question)
        return False

    with pytest.raises(UsageError, match=r"--yes.*--images"):
        prepare_dataset(refcoco, out=tmp_path / "s.h5", downloads=replace(downloads, agree=refuse))
    assert len(asked) == 1 and "0.0 GB" in asked[0]
    assert site.count("/train2014.zip") == 0
    images = tmp_path / "published" / "images" / "train2014"
    prepare_dataset(refcoco, out=tmp_path / "s.h5", images=images, downloads=replace(downloads, agree=refuse))
    assert len(asked) == 1


def test_a_dead_server_is_told_with_what_to_do(
    site: Site, refcoco: DatasetDescriptor, downloads: Downloads, tmp_path: Path
) -> None:
    site.answers["/refcoco.zip"] = status(503)
    with pytest.raises(DataError, match=r"404.*503.*--from"):
        prepare_dataset(refcoco, out=tmp_path / "s.h5", downloads=downloads)


def test_an_archive_that_holds_something_else_is_refused(
    site: Site, refcoco: DatasetDescriptor, downloads: Downloads, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readme").write_text("hello")
    body = zipped(tmp_path, "other")
    site.answers["/refcoco.zip"] = serve(body)
    refcoco = replace(refcoco, sources=(replace(refcoco.sources[0], size=None, sha256=None),))
    with pytest.raises(DataError, match="no refcoco under"):
        prepare_dataset(refcoco, out=tmp_path / "s.h5", downloads=downloads)


def test_without_a_source_and_downloads_nothing_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="where to download to"):
        prepare_dataset(find_dataset("refcoco"), out=tmp_path / "s.h5")
    with pytest.raises(UsageError, match="did you mean"):
        prepare_dataset(find_dataset("refcoc"), out=tmp_path / "s.h5")
