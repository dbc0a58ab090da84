"""A local server that speaks as much of the hub's API as downloading a model takes, its refusals among it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
from helpers.http_server import serving

COMMIT = "1" * 40


@dataclass
class Hub:
    """What the hub has.

    Attributes:
        files: By repository and name.
        gated: The tokens that may read a gated repository, by repository.
        refused: What it says to others who are logged in, by repository.
        disabled: Repositories that it took down.
        address: Where it is.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: dict[str, set[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    disabled: set[str] = field(default_factory=set)
    address: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, *, body: bool) -> None:
        parts = self.path.strip("/").split("/")
        if parts == [""]:
            self._send(200, b"", body=body)
            return
        repository, name = "/".join(parts[:2]), "/".join(parts[4:])
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        if repository in self.hub.disabled:
            self._send(403, b"", body=body, X_Error_Message="Access to this resource is disabled.")
        elif repository not in self.hub.files:
            # Whoever is not logged in is not told whether there is a private one of that name.
            self._send(404 if token else 401, b"", body=body, X_Error_Code="RepoNotFound", X_Error_Message="Not found")
        elif repository in self.hub.gated and token not in self.hub.gated[repository]:
            restricted = f"Access to model {repository} is restricted. You must be authenticated to access it."
            said = self.hub.refused.get(repository, restricted) if token else restricted
            self._send(403 if token else 401, b"", body=body, X_Error_Code="GatedRepo", X_Error_Message=said)
        elif name not in self.hub.files[repository]:
            self._send(404, b"", body=body, X_Error_Code="EntryNotFound", X_Error_Message="Entry not found")
        else:
            data = self.hub.files[repository][name]
            etag = f'"{hashlib.sha256(data).hexdigest()}"'
            self._send(200, data, body=body, ETag=etag, X_Repo_Commit=COMMIT)

    def _send(self, status: int, data: bytes, *, body: bool, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@contextmanager
def hub_running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Run a hub on this machine's own address for the block, as the one that `huggingface_hub` asks."""
    from huggingface_hub import constants

    hub = Hub()
    with serving(type("OwnHandler", (_Handler,), {"hub": hub})) as hub.address:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("NO_PROXY", "*")
        yield hub
