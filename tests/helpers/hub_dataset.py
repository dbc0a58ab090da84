"""A local server that answers as the Hugging Face hub does, with one dataset."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest


@contextmanager
def hub_with(
    repository: str, files: Mapping[str, bytes], cache: Path, monkeypatch: pytest.MonkeyPatch, *, gated: bool = False
) -> Iterator[list[str]]:
    """Make a local server the hub of this process; yield the paths that were asked for.

    `gated` refuses every file, as of a dataset whose terms nobody accepted.
    """
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(with_body=True)

        def do_HEAD(self) -> None:
            self.answer(with_body=False)

        def do_POST(self) -> None:
            self.answer(with_body=True)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def answer(self, *, with_body: bool) -> None:
            parts = urlsplit(self.path)
            path = unquote(parts.path)
            asked.append(path)
            headers: dict[str, str] = {}
            code, body = 404, b""
            if path in ("", "/"):
                code = 200
            elif path.startswith(f"/api/datasets/{repository}/tree/"):
                inner = path.removeprefix(f"/api/datasets/{repository}/tree/").partition("/")[2].rstrip("/")
                whole = parse_qs(parts.query).get("recursive", ["false"])[0].lower() in ("true", "1")
                code, body = 200, json.dumps(_tree(files, inner, whole=whole)).encode()
                headers["Content-Type"] = "application/json"
            elif path in (f"/api/datasets/{repository}", f"/api/datasets/{repository}/revision/main"):
                siblings = [{"rfilename": name} for name in files]
                code, body = 200, json.dumps({"id": repository, "sha": "0" * 40, "siblings": siblings}).encode()
                headers["Content-Type"] = "application/json"
            elif path.startswith(f"/api/datasets/{repository}/paths-info/"):
                wanted = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["paths"]
                folders = {name.rpartition("/")[0] for name in files}
                found = [_entry(name, files) for name in wanted if name in files or name in folders]
                code, body = 200, json.dumps(found).encode()
                headers["Content-Type"] = "application/json"
            elif gated:
                code, headers["X-Error-Code"] = 401, "GatedRepo"
                headers["X-Error-Message"] = f"Access to dataset {repository} is restricted."
            elif (name := path.removeprefix(f"/datasets/{repository}/resolve/main/")) in files:
                code, body = 200, files[name]
                headers |= {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": "0" * 40}
                headers["Accept-Ranges"] = "bytes"
                if start := int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]):
                    code, headers["Content-Range"] = 206, f"bytes {start}-{len(body) - 1}/{len(body)}"
                    body = body[start:]
            self.send_response(code)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    import huggingface_hub.constants as constants

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    try:
        yield asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _tree(files: Mapping[str, bytes], folder: str, *, whole: bool) -> list[dict[str, Any]]:
    """Returns the entries of a folder, "" for the root: of all folders in it, or its own alone."""
    own = [name for name in files if not folder or name.startswith(f"{folder}/")]
    if whole:
        folders = {
            str(one) for name in own for one in PurePosixPath(name).parents if len(str(one)) > max(1, len(folder))
        }
        return [_entry(name, files) for name in (*sorted(folders), *own)]
    start = len(folder) + 1 if folder else 0
    return [_entry(name, files) for name in dict.fromkeys(one[:start] + one[start:].split("/")[0] for one in own)]


def _entry(name: str, files: Mapping[str, bytes]) -> dict[str, Any]:
    if name not in files:
        return {"type": "directory", "path": name, "oid": "d"}
    return {"type": "file", "path": name, "size": len(files[name]), "oid": "b"}
