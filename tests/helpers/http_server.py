"""A local HTTP server that misbehaves on request, for the tests of downloading."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[["Handler", int], None]


@dataclass
class Site:
    """What the server offers: path -> how to answer. `requests` keeps (path, Range, If-Range) of each request."""

    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    address: str = ""

    def url(self, path: str) -> str:
        """Return the address of `path`."""
        return self.address + path

    def count(self, path: str) -> int:
        """Return how often `path` was asked for."""
        return sum(request[0] == path for request in self.requests)


class Handler(BaseHTTPRequestHandler):
    """Looks up the answer for a path; gives it the number of earlier requests for that path."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        earlier = self.site.count(self.path)
        self.site.requests.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        answer = self.site.answers.get(self.path)
        if answer is None:
            self.send_error(404)
        else:
            answer(self, earlier)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def start_of_range(self, etag: str) -> int:
        """Return where the body is to begin, if the request may be answered in part."""
        asked = self.headers.get("Range")
        if not asked or self.headers.get("If-Range", etag) != etag:
            return 0
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def begin(self, status: int, *, length: int | None, **headers: str) -> None:
        """Send the head of an answer."""
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def drop(self) -> None:
        """Close the connection in the middle of things."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.close()


def serve(
    body: bytes,
    *,
    drop_after: int | None = None,
    drops: int = 10**9,
    ranges: bool = True,
    etag: str | None = None,
    length: int | None = None,
) -> Answer:
    """Answer with `body`. `drop_after`: break off after so many bytes, the first `drops` times; `ranges`: heed Range;
    `etag`: say this ("" for none); `length`: lie about the whole length."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:8]}"' if etag is None else etag

    def answer(handler: Handler, earlier: int) -> None:
        start = handler.start_of_range(tag) if ranges else 0
        told = len(body) if length is None else length
        headers = {"ETag": tag} if tag else {}
        if start >= told:
            handler.begin(416, length=0, Content_Range=f"bytes */{told}")
            return
        if start:
            span = f"bytes {start}-{told - 1}/{told}"
            handler.begin(206, length=told - start, Content_Range=span, **headers)
        else:
            handler.begin(200, length=told, **headers)
        piece = body[start:told]
        if drop_after is not None and earlier < drops:
            piece = piece[:drop_after]
        handler.wfile.write(piece)
        if len(piece) < told - start:
            handler.drop()

    return answer


def status(code: int, *, times: int = 10**9, then: Answer | None = None, **headers: str) -> Answer:
    """Answer with the error `code`, the first `times` times, and `then` as that says."""

    def answer(handler: Handler, earlier: int) -> None:
        if earlier < times or then is None:
            handler.begin(code, length=0, **headers)
        else:
            then(handler, earlier - times)

    return answer


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Let a handler answer on this machine's own address for the block, and yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def running() -> Iterator[Site]:
    """Run a server on this machine's own address for the block."""
    site = Site()
    with serving(type("OwnHandler", (Handler,), {"site": site})) as site.address:
        yield site
