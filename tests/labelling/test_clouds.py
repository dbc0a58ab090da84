"""Collections in s3://, gs:// and hf://, on local servers that speak these protocols, through the commands."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import Run, risctl
from helpers.gcs_server import gcs_with
from helpers.hub_dataset import hub_with
from PIL import Image

from risctl.data.store.reader import Store

__all__ = ["risctl"]

BUCKET = "risctl-test"


def files() -> dict[str, bytes]:
    """Returns the objects: pictures in two folders, one of them damaged, a list, and tables of own data."""
    generator = np.random.default_rng(0)
    found = {}
    for name in ("in/0.png", "in/sub/1.png", "in/sub/2.png"):
        picture = io.BytesIO()
        Image.fromarray(generator.integers(0, 255, (24, 32, 3), dtype=np.uint8)).save(picture, "PNG")
        found[name] = picture.getvalue()
    mask = io.BytesIO()
    Image.fromarray(np.pad(np.full((8, 8), 255, dtype=np.uint8), ((4, 12), (6, 18)))).save(mask, "PNG")
    found["in/sub/broken.png"] = found["in/0.png"][:60]
    found["own/mask.png"] = mask.getvalue()
    found["list.txt"] = b"in/0.png\nin/sub/gone.png\n"
    found["cups.csv"] = b"image,text,mask\nin/0.png,the red cup,own/mask.png\nin/sub/1.png,a zebra,\n"
    return found


@pytest.fixture(params=[pytest.param("s3", marks=pytest.mark.slow), "gs", "hf"])  # moto takes long to start
def cloud(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serves the objects and yields the address of their bucket."""
    if request.param == "s3":
        yield from _s3(monkeypatch)
    elif request.param == "gs":
        gcsfs = pytest.importorskip("gcsfs", reason="gs:// needs gcsfs (risctl[gcs])")
        gcsfs.GCSFileSystem.clear_instance_cache()
        with gcs_with(BUCKET, files()) as address:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
            yield f"gs://{BUCKET}"
        gcsfs.GCSFileSystem.clear_instance_cache()
    else:
        from huggingface_hub import HfFileSystem

        HfFileSystem.clear_instance_cache()
        with hub_with("owner/many", files(), tmp_path / "cache", monkeypatch):
            yield "hf://datasets/owner/many"
        HfFileSystem.clear_instance_cache()


def _s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    s3fs = pytest.importorskip("s3fs", reason="s3:// needs s3fs (risctl[s3])")
    server = pytest.importorskip("moto.server", reason="the server of s3:// is moto's: pip install 'moto[server]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    running.start()
    try:
        for name, value in (
            ("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}"),
            ("AWS_ACCESS_KEY_ID", "testing"),
            ("AWS_SECRET_ACCESS_KEY", "testing"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        system = s3fs.S3FileSystem()
        system.mkdir(BUCKET)
        for name, data in files().items():
            system.pipe_file(f"{BUCKET}/{name}", data)
        s3fs.S3FileSystem.clear_instance_cache()
        yield f"s3://{BUCKET}"
    finally:
        running.stop()
        s3fs.S3FileSystem.clear_instance_cache()


def test_a_cloud_is_labelled_checked_and_prepared(cloud: str, risctl: Run, tiny_mini: Path, tmp_path: Path) -> None:
    asked = ("-p", "the red cup", "--model", tiny_mini, "--format", "jsonl", "--json")
    # A folder, with two forked processes that each read for themselves.
    done = risctl("label", f"{cloud}/in", *asked, "--out", "folder", "--workers", 2)
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"images": 4, "rows": 4, "failed": 1, "files": {}, "out": "folder"}
    rows = [json.loads(line) for part in sorted(Path("folder/parts").iterdir()) for line in part.open()]
    names = [row["image"].partition("/in/")[2] for row in rows]
    assert names == ["0.png", "sub/1.png", "sub/2.png", "sub/broken.png"]
    assert all(row["image"].startswith(cloud[:5]) for row in rows)
    assert [bool(row["error"]) for row in rows] == [False, False, False, True]
    # The same picture from the disk has the same answer.
    Path("0.png").write_bytes(files()["in/0.png"])
    assert risctl("label", "0.png", *asked, "--out", "alone").code == 0
    alone = json.loads(next(Path("alone/parts").iterdir()).read_text())
    differs = {key for key in alone if alone[key] != rows[0][key]}
    assert differs == {"image"}
    # Patterns, and a list whose names are relative to it; what is not there is a row with an error.
    done = risctl("label", f"{cloud}/in/sub/*2.png", *asked, "--out", "pattern")
    assert done.code == 0 and json.loads(done.out)["images"] == 1, done.err
    done = risctl("label", f"{cloud}/list.txt", *asked, "--out", "list")
    assert done.code == 0 and json.loads(done.out) | {"out": ""} == {
        "images": 2,
        "rows": 2,
        "failed": 1,
        "files": {},
        "out": "",
    }, done.err
    # The annotation formats copy the pictures out of the cloud.
    done = risctl("label", f"{cloud}/in/0.png", *asked[:-3], "--format", "jsonl,coco", "--out", "coco")
    assert done.code == 0, done.err
    assert next(Path("coco/images").iterdir()).read_bytes() == files()["in/0.png"]
    _own_data(cloud, risctl, tmp_path)


def _own_data(cloud: str, risctl: Run, tmp_path: Path) -> None:
    """A table in the cloud is checked, prepared with linked pictures, and the store labelled."""
    options = ("--data-root", tmp_path / "root", "--json")
    checked = risctl("data", "check", f"{cloud}/cups.csv", *options)
    assert checked.code == 0, checked.err
    assert json.loads(checked.out)["counts"]["train"]["sentences"] == 2
    prepared = risctl("prepare", "custom", f"{cloud}/cups.csv", "--splits", "train=1", "--link", *options)
    assert prepared.code == 0, prepared.err
    with Store(tmp_path / "root" / "cups.h5") as store:
        assert store.linked and store.image_bytes(0) == files()["in/0.png"]
        assert store.mask(0)["size"] == [24, 32]
    done = risctl("label", tmp_path / "root" / "cups.h5", "--out", "store.jsonl", "-q")
    assert done.code == 0, done.err
    assert [json.loads(line)["phrase"] for line in Path("store.jsonl").read_text().splitlines()] == [
        "the red cup",
        "a zebra",
    ]


def test_an_output_in_a_cloud_is_refused(risctl: Run, tmp_path: Path) -> None:
    done = risctl("label", tmp_path, "-p", "a cup", "--out", "s3://bucket/labels")
    assert done.code == 2 and "copy it afterwards" in done.err
    assert not Path("s3:").exists()
