"""A local server that speaks the part of Google Cloud Storage's JSON API by which objects are listed and read."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from helpers.http_server import serving


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: str
    objects: Mapping[str, bytes]

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        root = f"/storage/v1/b/{self.bucket}/o"
        path = parts.path.removeprefix("/download")
        name = unquote(path.removeprefix(f"{root}/"))
        if path == root:
            self._json(200, self._listed(asked.get("prefix", ""), asked.get("delimiter", "")))
        elif not path.startswith(f"{root}/") or name not in self.objects:
            self._json(404, {"error": {"code": 404, "message": f"No such object: {name}"}})
        elif asked.get("alt") == "media":
            self._media(self.objects[name])
        else:
            self._json(200, self._about(name))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _listed(self, prefix: str, delimiter: str) -> dict[str, Any]:
        names = [name for name in sorted(self.objects) if name.startswith(prefix)]
        if not delimiter:
            return {"kind": "storage#objects", "items": [self._about(name) for name in names]}
        inner = {name: name.removeprefix(prefix).partition(delimiter) for name in names}
        folders = sorted({prefix + first + slash for first, slash, _ in inner.values() if slash})
        own = [self._about(name) for name in names if not inner[name][1]]
        return {"kind": "storage#objects", "items": own, "prefixes": folders}

    def _about(self, name: str) -> dict[str, Any]:
        data = self.objects[name]
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        about = {"kind": "storage#object", "bucket": self.bucket, "name": name, "size": str(len(data))}
        return about | {"md5Hash": digest, "generation": "1", "updated": "2026-01-01T00:00:00.000Z"}

    def _media(self, data: bytes) -> None:
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if not first:
            self._send(200, data)
            return
        piece = data[int(first) : int(last) + 1 if last else None]
        self._send(206, piece, Content_Range=f"bytes {first}-{int(first) + len(piece) - 1}/{len(data)}")

    def _json(self, status: int, value: Any) -> None:
        self._send(status, json.dumps(value).encode(), Content_Type="application/json")

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def gcs_with(bucket: str, objects: Mapping[str, bytes]) -> Iterator[str]:
    """Serves a bucket on this machine's own address for the block, and yields the address."""
    with serving(type("OwnHandler", (_Handler,), {"bucket": bucket, "objects": objects})) as address:
        yield address
