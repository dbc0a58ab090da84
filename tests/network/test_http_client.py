"""Answers that are no answers: redirects, heads, framing, time."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from risctl.network.http_client import Bounds, BrokenError, RefusedError, open_url

Play = Callable[[socket.socket], None]
QUICK = Bounds(silence=0.5, window=0.3, min_rate=1000.0)


@pytest.fixture
def raw(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Play], str]]:
    """Returns the address of a server that plays what it is given with each connection."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers: list[socket.socket] = []

    def begin(play: Play) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(65536)
                        play(connection)
                    except OSError:
                        pass

        threading.Thread(target=run, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/"

    yield begin
    for server in servers:
        server.close()


def read(url: str, *, bounds: Bounds = QUICK, max_seconds: float | None = None) -> bytes:
    with open_url(url, bounds=bounds) as answer:
        return b"".join(answer.blocks(max_seconds=max_seconds))


def says(text: str) -> Play:
    return lambda connection: connection.sendall(text.encode("latin-1"))


def forever(head: str, block: bytes, pause: float = 0.0) -> Play:
    def play(connection: socket.socket) -> None:
        connection.sendall(head.encode())
        while True:
            connection.sendall(block)
            time.sleep(pause)

    return play


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/a", "file:///etc/passwd", "data:,x", "gopher://x/", "http://[x"])
def test_a_redirect_to_another_scheme_is_refused(raw: Callable[[Play], str], location: str) -> None:
    with pytest.raises(RefusedError, match="it redirects to"):
        read(raw(says(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")))


def test_redirects_never_leave_encryption_and_are_few(
    raw: Callable[[Play], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from risctl.network import http_client

    with pytest.raises(RefusedError, match="from https to http://a/b, which is not encrypted"):
        http_client._redirected("https://a/", "http://a/b")
    assert http_client._redirected("http://a/", "https://a/b c") == "https://a/b%20c"
    with pytest.raises(RefusedError, match="more than 5 times"):
        read(raw(says("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")))


def test_the_body_of_a_redirect_is_not_read(raw: Callable[[Play], str]) -> None:
    target = raw(says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    head = f"HTTP/1.1 302 Found\r\nLocation: {target}\r\n\r\n"
    assert read(raw(forever(head, bytes(65536)))) == b"ok"


@pytest.mark.parametrize(
    ("head", "block", "pause"),
    [
        ("", b"HTTP/1.1 100 Continue\r\n\r\n", 0.0),
        ("HTTP/1.1 200 OK\r\n", b"X: " + bytes(100).replace(b"\0", b"x") + b"\r\n", 0.0),
        ("HTTP/1.1 200 OK\r\nX: ", b"x", 0.05),
        ("", b"H", 0.05),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: 1\r\n" * 1000, 0.0),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 9000 + b"\r\nx\r\n", 0.0),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.05),
        ("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x", 0.05),
    ],
)
def test_what_has_no_end_is_ended(raw: Callable[[Play], str], head: str, block: bytes, pause: float) -> None:
    began = time.monotonic()
    with pytest.raises((RefusedError, BrokenError)):
        read(raw(forever(head, block, pause)))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + "f" * 5000 + "\r\nabcde\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcdefgh",
    ],
)
def test_a_malformed_answer_is_no_body(raw: Callable[[Play], str], text: str) -> None:
    with pytest.raises((RefusedError, BrokenError)):
        read(raw(says(text)))


def test_what_a_server_says_of_its_error_is_one_printable_line(raw: Callable[[Play], str]) -> None:
    with open_url(raw(says("HTTP/1.1 404 \x1b[31mred\x07 \r\nContent-Length: 0\r\n\r\n"))) as answer:
        assert answer.status == 404 and answer.reason == "?[31mred?"


def test_a_usual_answer_is_read(raw: Callable[[Play], str]) -> None:
    body = bytes(range(256)) * 5000
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 999]), body[i : i + 999]) for i in range(0, len(body), 999))
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    assert read(raw(lambda connection: connection.sendall(chunked))) == body
    stated = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert read(raw(lambda connection: connection.sendall(stated))) == body
