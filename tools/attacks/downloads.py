"""Attack on downloads: a local server that lies, stalls, floods and redirects, and links where the bytes would go.

A download must end with the bytes of one version of the file, or be refused. Lies that nothing could tell (other bytes
under the same validator) are played only where the SHA-256 is known.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SUITE_COUNT = 30

SIZE = 60_000
DATES = ("Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT")
LONGEST = 500_000
_MARK = b"END."


def prepare(folder: Path) -> None:
    """Writes two versions of the file, of one length, each with a mark at its end."""
    for number in (0, 1):
        (folder / str(number)).write_bytes(random.Random(number).randbytes(SIZE) + _MARK)


class Server(BaseHTTPRequestHandler):
    """Plays one misbehaviour a request, as the case says; then the last one for ever, or honesty."""

    protocol_version = "HTTP/1.1"
    case: dict[str, Any]
    bodies: tuple[bytes, bytes]
    count = 0

    def do_GET(self) -> None:
        """Answers."""
        cls, plays = type(self), self.case["plays"]
        index, cls.count = cls.count, cls.count + 1
        if index < len(plays) or self.case["repeat"]:
            name, self.version, seed = plays[min(index, len(plays) - 1)]
        else:
            name, self.version, seed = "honest", plays[-1][1], 0
        self.random = random.Random(seed)
        self.body = self.bodies[self.version]
        self.close_connection = True
        with suppress(OSError):
            PLAYS[name](self)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def tag(self) -> dict[str, str]:
        """Returns the validator of this version, of the kind that the case has."""
        kind = self.case["validator"]
        values = {"etag": f'"{self.version}"', "weak": f'W/"{self.version}"', "date": DATES[self.version]}
        return {"Last-Modified" if kind == "date" else "ETag": values[kind]} if kind in values else {}

    def start(self) -> int:
        """Returns where the body is asked to begin, whatever If-Range says."""
        return int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))

    def head(self, status: int, **fields: Any) -> None:
        """Sends the head."""
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def whole(self, **fields: Any) -> None:
        """Sends the head of the whole file."""
        self.head(200, **({"Content_Length": len(self.body)} | self.tag() | fields))

    def rest(self, **fields: Any) -> int:
        """Sends the head of the rest, and returns where it begins."""
        start = min(self.start(), len(self.body) - 1)
        span = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        self.head(206, **({"Content_Length": len(self.body) - start, "Content_Range": span} | self.tag() | fields))
        return start

    def send(self, data: bytes) -> None:
        """Sends a piece of the body."""
        self.wfile.write(data)

    def flood(self, block: bytes, pause: float = 0.0) -> None:
        """Sends a block for ever, or for longer than anybody should wait."""
        ends = time.monotonic() + 30
        while time.monotonic() < ends:
            self.wfile.write(block)
            time.sleep(pause)


def _honest(server: Server) -> None:
    tag = next(iter(server.tag().values()), None)
    asked = server.headers.get("If-Range", tag)
    if server.start() and server.case["validator"] in ("etag", "date") and asked == tag:
        if server.start() >= len(server.body):
            server.head(416, Content_Range=f"bytes */{len(server.body)}", Content_Length=0)
            return
        server.send(server.body[server.rest() :])
    else:
        server.whole()
        server.send(server.body)


def _drop(server: Server) -> None:
    cut = server.random.randrange(1, len(server.body))
    if server.start() and server.random.random() < 0.5:
        server.send(server.body[server.rest() :][:cut])
    else:
        server.whole()
        server.send(server.body[:cut])


def _wrong_rest(server: Server) -> None:
    start = server.random.choice([0, server.start() + 1, max(0, server.start() - 1)])
    total = server.random.choice([len(server.body), len(server.body) + 7, "*", "9" * 5000])
    server.rest(Content_Range=f"bytes {start}-{len(server.body) - 1}/{total}")
    server.send(server.body[start:])


def _part_unasked(server: Server) -> None:
    server.head(206, Content_Length=100, Content_Range=f"bytes 0-99/{len(server.body)}", **server.tag())
    server.send(server.body[:100])


def _part_of_another_version(server: Server) -> None:
    server.version = 1 - server.version
    server.body = server.bodies[server.version]
    server.send(server.body[server.rest() :])


def _part_without_validator(server: Server) -> None:
    start = min(server.start(), len(server.body) - 1)
    span = f"bytes {start}-{len(server.body) - 1}/{len(server.body)}"
    server.head(206, Content_Length=len(server.body) - start, Content_Range=span)
    server.send(server.bodies[1 - server.version][start:])


def _same_validator_other_bytes(server: Server) -> None:
    start = server.rest()
    server.send(bytes(len(server.body) - start))


def _chunked(server: Server, tail: bytes = b"0\r\n\r\n") -> None:
    server.head(200, Transfer_Encoding="chunked", **server.tag())
    for first in range(0, len(server.body), 7000):
        piece = server.body[first : first + 7000]
        server.send(b"%x\r\n%s\r\n" % (len(piece), piece))
    server.send(tail)


def _broken_chunks(server: Server) -> None:
    tails = [b"zz\r\nx", b"-5\r\nabcde\r\n0\r\n\r\n", b"f" * 5000 + b"\r\nx", b"5\r\nab", b""]
    _chunked(server, tail=server.random.choice(tails))


def _endless_chunks(server: Server) -> None:
    server.head(200, Transfer_Encoding="chunked", **server.tag())
    server.flood(b"100\r\n" + bytes(256) + b"\r\n")


def _endless_trailer(server: Server) -> None:
    _chunked(server, tail=b"0\r\n")
    server.flood(b"X: 1\r\n" * 999)


def _endless_body(server: Server) -> None:
    server.head(200, **server.tag())
    server.flood(bytes(65536))


def _endless_head(server: Server) -> None:
    server.send_response(200)
    server.flood(b"X: " + b"y" * 900 + b"\r\n")


def _byte_by_byte(server: Server) -> None:
    server.whole()
    for first in range(len(server.body)):
        server.send(server.body[first : first + 1])
        time.sleep(0.05)


def _byte_by_byte_of_the_head(server: Server) -> None:
    server.send(b"HTTP/1.1 200 OK\r\nX: ")
    server.flood(b"x", 0.05)


def _silent_body(server: Server) -> None:
    server.whole()
    server.send(server.body[:1000])
    time.sleep(1)


def _other_length(server: Server) -> None:
    server.whole(Content_Length=len(server.body) + server.random.choice([-999, -1, 1, 999, 10**17]))
    server.send(server.body)


def _impossible_length(server: Server) -> None:
    server.whole(Content_Length=server.random.choice(["9" * 5000, "-7", "1e3", "", "0x5", "7, 8"]))
    server.send(server.body)


def _encoded(server: Server) -> None:
    data = zlib.compress(server.body)
    server.whole(Content_Encoding=server.random.choice(["gzip", "br", "\x1b[31m"]), Content_Length=len(data))
    server.send(data)


def _until_closed(server: Server) -> None:
    server.head(200, Connection="close", **server.tag())
    server.send(server.body)


def _half_until_closed(server: Server) -> None:
    server.head(200, Connection="close", **server.tag())
    server.send(server.body[: len(server.body) // 2])


def _redirect(server: Server) -> None:
    places = ["ftp://127.0.0.1/a", "file:///etc/hostname", "/file", "//[", "http://127.0.0.1:9/", "\x1b[31m", "data:,x"]
    code = server.random.choice([301, 302, 303, 307, 308])
    server.head(code, Location=server.random.choice(places), Content_Length=0)


def _endless_redirect(server: Server) -> None:
    server.head(302, Location="/file")
    server.flood(bytes(65536))


def _status(server: Server) -> None:
    server.send_response(server.random.choice([204, 304, 400, 404, 410, 429, 500, 503, 599]), "\x1b[2Jno\x07")
    server.send_header("Retry-After", server.random.choice(["1", "9" * 400, "soon", "-1"]))
    server.send_header("Content-Length", "0")
    server.end_headers()


def _not_satisfiable(server: Server) -> None:
    server.head(416, Content_Range=f"bytes */{server.start()}", Content_Length=0, **server.tag())


def _no_http(server: Server) -> None:
    answers = [
        b"",
        b"\r\n\r\n",
        b"HTTP/1.1 2000000 OK\r\n\r\n",
        b"HTTP/0.9",
        server.random.randbytes(3000),
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nabcdefg",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 80_000 + b"\r\n\r\n",
    ]
    server.send(server.random.choice(answers))


PLAYS: dict[str, Callable[[Server], None]] = {
    "honest": _honest,
    "drop": _drop,
    "chunked": _chunked,
    "broken chunks": _broken_chunks,
    "endless chunks": _endless_chunks,
    "endless trailer": _endless_trailer,
    "endless body": _endless_body,
    "endless head": _endless_head,
    "endless continue": lambda server: server.flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 99),
    "byte by byte": _byte_by_byte,
    "byte by byte of the head": _byte_by_byte_of_the_head,
    "silence": lambda _: time.sleep(1),
    "silent body": _silent_body,
    "other length": _other_length,
    "impossible length": _impossible_length,
    "encoded": _encoded,
    "wrong rest": _wrong_rest,
    "part unasked": _part_unasked,
    "part of another version": _part_of_another_version,
    "part without validator": _part_without_validator,
    "until closed": _until_closed,
    "half until closed": _half_until_closed,
    "redirect": _redirect,
    "endless redirect": _endless_redirect,
    "status": _status,
    "not satisfiable": _not_satisfiable,
    "no http": _no_http,
}
_UNTELLABLE = "same validator, other bytes"
PLAYS[_UNTELLABLE] = _same_validator_other_bytes
_GOES_ON = (
    *("drop",) * 4,
    "broken chunks",
    "other length",
    "wrong rest",
    "part of another version",
    "part without validator",
    "not satisfiable",
)
_KNOWN = ("nothing", "size", "sha256", "check")
_LINKS = ("file", "file.part", "file.part.json", ".file.lock", "file.json")


def mutate(folder: Path, target: Path, random: random.Random) -> str:
    """Writes what the server will do, and what the client knows and finds."""
    names = [name for name in PLAYS if name != _UNTELLABLE]
    plays = []
    for _ in range(random.randint(1, 5)):
        # Most plays end a download; those that it can go on from are drawn as often as all together.
        name = random.choice(_GOES_ON if random.random() < 0.6 else names)
        plays.append([name, int(random.random() < 0.3), random.randrange(10**6)])
    case = {
        "known": random.choice(_KNOWN),
        "validator": random.choice(["etag", "weak", "date", "none"]),
        "plays": plays,
        "repeat": random.random() < 0.3,
        "link": random.choice(_LINKS) if random.random() < 0.1 else "",
        "left": random.choice([0, 0, 100, SIZE // 2]),
        "image": random.random() < 0.2,
    }
    if case["known"] == "sha256" and random.random() < 0.5:
        plays[-1][0] = _UNTELLABLE
    (target / "case.json").write_text(json.dumps(case))
    told = ", ".join(f"{name} (version {version})" for name, version, _ in plays)
    rest = {name: value for name, value in case.items() if name != "plays"}
    return f"{told}; {json.dumps(rest)}"


def check(folder: Path, target: Path) -> str:
    """Downloads from the server, and compares with the versions of the file."""
    os.environ["no_proxy"] = "127.0.0.1"
    case = json.loads((target / "case.json").read_text())
    bodies = ((folder / "0").read_bytes(), (folder / "1").read_bytes())
    with _serving(case, bodies) as url:
        if case["image"]:
            return _fetch_image(url, bodies)
        return _download(url, case, bodies, target / "downloads")


@contextmanager
def _serving(case: dict[str, Any], bodies: tuple[bytes, bytes]) -> Iterator[str]:
    handler = type("CaseServer", (Server,), {"case": case, "bodies": bodies})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/file"
    finally:
        server.shutdown()
        server.server_close()


def _fetch_image(url: str, bodies: tuple[bytes, bytes]) -> str:
    from risctl.vision.image_download import fetch

    got = fetch(url, max_bytes=LONGEST, timeout=0.5, max_seconds=2)
    # Nothing but the image's own format tells whether a body without a length is whole.
    return "right" if any(body.startswith(got) for body in bodies) else "wrong"


def _download(url: str, case: dict[str, Any], bodies: tuple[bytes, bytes], folder: Path) -> str:
    from risctl.data.download.mirrors import RetryPolicy, download
    from risctl.errors import DataError

    victim = folder.parent / "victim"
    victim.write_bytes(b"not yours")
    folder.mkdir()
    if case["left"]:
        validator = {"etag": '"0"', "date": DATES[0]}.get(case["validator"], "")
        (folder / "file.part").write_bytes(bodies[0][: case["left"]])
        state = {"url": url, "validator": validator, "total": len(bodies[0])}
        (folder / "file.part.json").write_text(json.dumps(state))
    if case["link"]:
        (folder / case["link"]).unlink(missing_ok=True)
        (folder / case["link"]).symlink_to(victim)

    def complete(path: Path) -> None:
        if not path.read_bytes().endswith(_MARK):
            raise DataError("it is not complete")

    known: dict[str, Any] = {
        "nothing": {},
        "size": {"size": len(bodies[0])},
        "sha256": {"sha256": hashlib.sha256(bodies[0]).hexdigest()},
        "check": {"check": complete},
    }[case["known"]]
    retries = RetryPolicy(
        attempts=4, first_wait=0.0, longest_wait=0.0, timeout=0.4, window=0.3, min_rate=4000.0, max_seconds=1.0
    )
    try:
        found = download([url], folder / "file", max_bytes=LONGEST, retries=retries, **known)
    except DataError as error:
        left = (folder / "file").exists() and not case["link"]
        if left or victim.read_bytes() != b"not yours" or not str(error).isprintable():
            return "wrong"
        raise
    accepted = bodies[:1] if case["known"] == "sha256" else bodies
    return "right" if found.path.read_bytes() in accepted and victim.read_bytes() == b"not yours" else "wrong"
