"""Weights of `risctl zeroshot`: downloaded once from a hub, a local one here, or named where they are missing."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_clip import write_hugging_face
from helpers.tiny_prompted import write_prompted
from helpers.tiny_sams import write_sam
from PIL import Image


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the hub has: a CLIP, a Grounding DINO in several parts, a SAM 2."""
    root = tmp_path_factory.mktemp("hub")
    write_hugging_face(root / "tiny" / "clip")
    write_prompted(root / "tiny" / "dino", "grounding-dino", max_shard_size="300KB")
    assert len(list((root / "tiny" / "dino").glob("model-*.safetensors"))) > 1
    write_sam(root / "tiny" / "sam2", "sam2")
    return root


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture, and two masks in an npz beside it."""
    masks = np.zeros((2, 60, 90), dtype=bool)
    masks[0, 10:50, 5:40] = masks[1, 20:40, 50:80] = True
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(tmp_path / "boxes.png")
    np.savez(tmp_path / "boxes.npz", masks=masks)
    return tmp_path / "boxes.png"


class _Hub(http.server.BaseHTTPRequestHandler):
    """Serves OWNER/NAME/resolve/main/FILE from a folder of folders, with the headers of the hub."""

    folder: Path

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        name, _, rest = self.path.partition("/resolve/")
        model = self.folder / name.strip("/")
        file = model / rest.partition("/")[2]
        if not name.strip("/") or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if model.is_dir() else "RepoNotFound")
            self.end_headers()
            return
        data = file.read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def hub(models: Path) -> Iterator[str]:
    """The address of a hub that has `models`."""
    with _serving(type("Handler", (_Hub,), {"folder": models})) as address:
        yield address


@contextlib.contextmanager
def _serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def _environment(address: str, cache: Path) -> dict[str, str]:
    """Return the environment in which the hub is at `address`."""
    environment = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    return environment | {"HF_ENDPOINT": address, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}


def _apart(picture: Path, address: str, cache: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `predict` in a process of its own, in which the hub's address is read anew."""
    out = str(cache / "out")
    command = [
        sys.executable,
        "-m",
        "risctl",
        "zeroshot",
        "predict",
        str(picture),
        "a cup",
        "--out",
        out,
        "--overwrite",
        *options,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=_environment(address, cache))


def test_weights_are_downloaded_once(hub: str, picture: Path, tmp_path: Path) -> None:
    options = ("--proposals", str(picture.with_suffix(".npz")), "--clip", "tiny/clip")
    first = _apart(picture, hub, tmp_path / "cache", *options)
    assert first.returncode == 0, first.stderr
    nobody = "http://127.0.0.1:9"
    again = _apart(picture, nobody, tmp_path / "cache", *options)
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout


def test_a_baseline_of_two_models_in_several_parts_is_downloaded(hub: str, picture: Path, tmp_path: Path) -> None:
    options = ("--method", "grounded-sam", "--clip", "tiny/dino", "--sam", "tiny/sam2")
    ran = _apart(picture, hub, tmp_path / "cache", *options)
    assert ran.returncode == 0, ran.stderr
    assert "Grounding DINO tiny/dino + sam2 tiny/sam2" in ran.stderr
    lacking = _apart(picture, hub, tmp_path / "cache", "--method", "sam3", "--clip", "tiny/absent")
    assert lacking.returncode == 6
    assert "has no model tiny/absent" in lacking.stderr


def test_without_weights_and_network_it_says_what_it_wants(picture: Path, tmp_path: Path) -> None:
    options = ("--proposals", str(picture.with_suffix(".npz")), "--clip", "tiny/clip")
    ran = _apart(picture, "http://127.0.0.1:9", tmp_path / "cache", *options)
    assert ran.returncode == 5, ran.stderr
    for said in ("config.json", "model.safetensors", "tokenizer.json", "--clip FOLDER", "models--tiny--clip"):
        assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


class _EndlessHub(_Hub):
    """States the length of a file and sends without end."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if "/resolve/" not in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(self.path.encode()).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(b"%x\r\n%s\r\n" % (1 << 16, bytes(1 << 16)))


def test_a_hub_that_sends_without_end_is_bounded(models: Path, tmp_path: Path) -> None:
    with _serving(type("Handler", (_EndlessHub,), {"folder": models})) as address:
        code = "from risctl.data.download import hub; hub.model_folder('tiny/clip', hub.MODEL, option='--clip')"
        environment = _environment(address, tmp_path / "cache") | {"RISCTL_MAX_DOWNLOAD_GB": "0.02"}
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, timeout=120
        )
    assert "MachineError" in ran.stderr and "it sent more than 20,000,000 bytes" in ran.stderr
