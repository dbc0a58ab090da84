"""A local server that speaks the part of the Hugging Face hub's API by which models are uploaded and downloaded."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from helpers.http_server import serving

TOKEN = "hf_thatmaywrite"
COMMIT = "1" * 40


@dataclass
class Hub:
    """What the server has and was asked.

    Attributes:
        address: Its address.
        repositories: The files of each repository by name.
        private: The names of the private repositories.
        large: Large files that have arrived, by SHA-256, whether or not a commit names them.
        requests: (method, path without the query) of each request.
        breaks: How many uploads of large files break off in the middle from now on.
        refuses_commits: The status with which commits are answered; 0: they are taken.
    """

    address: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    large: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    breaks: int = 0
    refuses_commits: int = 0

    def count(self, method: str, part: str) -> int:
        """Return how many requests of a method had `part` in their path."""
        return sum(one == method and part in path for one, path in self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_GET(self) -> None:
        path = self._path()
        if path == "/":
            self._send(200, b"")
        elif path.startswith("/api/models/"):
            self._info(path.removeprefix("/api/models/"))
        elif "/resolve/" in path:
            self._file(path)
        else:
            self._json(404, {"error": f"unknown: {path}"})

    do_HEAD = do_GET  # noqa: N815  the name that http.server calls

    def do_POST(self) -> None:
        path, body = self._path(), self._body()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json(401, {"error": "Invalid credentials"})
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._json(200, {"warnings": [], "errors": []})
        elif "/preupload/" in path:
            modes = {True: "lfs", False: "regular"}
            files = [
                {"path": one["path"], "uploadMode": modes[one["path"].endswith(".safetensors")], "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            self._json(200, {"files": files})
        elif path.endswith(".git/info/lfs/objects/batch"):
            self._batch(json.loads(body)["objects"])
        elif "/commit/" in path:
            self._commit(path.removeprefix("/api/models/").partition("/commit/")[0], body)
        else:
            self._json(404, {"error": f"unknown: {path}"})

    def do_PUT(self) -> None:
        path = self._path()
        if self.hub.breaks:
            self.hub.breaks -= 1
            self.rfile.read(100)
            self.close_connection = True
            self.connection.close()
            return
        body = self._body()
        assert hashlib.sha256(body).hexdigest() == path.removeprefix("/large/")
        self.hub.large[path.removeprefix("/large/")] = body
        self._send(200, b"")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _path(self) -> str:
        path = self.path.partition("?")[0]
        self.hub.requests.append((self.command, path))
        return path

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _json(self, status: int, value: Any, **headers: str) -> None:
        self._send(status, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def _info(self, name: str) -> None:
        files = self.hub.repositories.get(name)
        if files is None:
            self._json(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return
        siblings = []
        for path, data in files.items():
            one: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": _git_hash(data)}
            if path.endswith(".safetensors"):
                one["lfs"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
            siblings.append(one)
        self._json(200, {"id": name, "sha": COMMIT, "private": name in self.hub.private, "siblings": siblings})

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
        self.hub.repositories.setdefault(name, {})
        if asked.get("private") or asked.get("visibility") == "private":
            self.hub.private.add(name)
        self._json(200, {"url": f"{self.hub.address}/{name}", "name": name, "id": name})

    def _batch(self, objects: list[dict[str, Any]]) -> None:
        answers = []
        for one in objects:
            answer: dict[str, Any] = {"oid": one["oid"], "size": one["size"]}
            if one["oid"] not in self.hub.large:
                answer["actions"] = {"upload": {"href": f"{self.hub.address}/large/{one['oid']}", "header": {}}}
            answers.append(answer)
        self._json(200, {"transfer": "basic", "objects": answers})

    def _commit(self, name: str, body: bytes) -> None:
        if self.hub.refuses_commits:
            self._json(self.hub.refuses_commits, {"error": "not now"})
            return
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.hub.repositories[name][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.hub.repositories[name][value["path"]] = self.hub.large[value["oid"]]
        self._json(200, {"commitUrl": f"{self.hub.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT})

    def _file(self, path: str) -> None:
        name, _, rest = path.strip("/").partition("/resolve/")
        file = rest.partition("/")[2]
        files = self.hub.repositories.get(name)
        if files is None or (name in self.hub.private and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            self._json(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        elif file not in files:
            self._json(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
        else:
            data = files[file]
            large = file.endswith(".safetensors")
            tag = hashlib.sha256(data).hexdigest() if large else _git_hash(data)
            self._send(200, data, ETag=f'"{tag}"', X_Repo_Commit=COMMIT)


def _git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Run a hub on this machine's own address for the block."""
    hub = Hub()
    with serving(type("OwnHandler", (_Handler,), {"hub": hub})) as hub.address:
        yield hub
