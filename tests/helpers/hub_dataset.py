"""A local server that answers as the Hugging Face hub does, with one dataset."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

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

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

        def answer(self, *, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            asked.append(path)
            headers: dict[str, str] = {}
            code, body = 404, b""
            if path in ("", "/"):
                code = 200
            elif path.startswith(f"/api/datasets/{repository}/tree/"):
                entries = [
                    {"type": "file", "path": name, "size": len(data), "oid": "b"} for name, data in files.items()
                ]
                code, body = 200, json.dumps(entries).encode()
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
