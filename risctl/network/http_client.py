"""Opens HTTP addresses within bounds: schemes, redirects, head, bytes, time, and the rate at which a server sends.

`urllib` alone reads the whole body of a redirect, follows any number of `100 Continue`, tries `ftp:` addresses, and
waits for ever on a server that sends a byte at a time.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
import string
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from risctl import __version__

MAX_REDIRECTS = 5
"""How many redirects are followed."""

_MAX_HEAD = 262_144
_SLACK = 1 << 19
_MAX_FRAMING = 8
_LINGER = 0.05
_BLOCK = 1 << 18
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SCHEMES = ("http", "https")


class RefusedError(Exception):
    """What the server answers is not accepted; asking again will not help."""


class BrokenError(Exception):
    """The connection failed, or was too slow; asking again may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long a server may take.

    Attributes:
        silence: Seconds that it may send nothing, and within which the head of an answer must be complete.
        min_rate: Bytes per second that it must send, on average over each `window`.
        window: Seconds over which the rate is measured.
        max_seconds: Seconds that an answer may take in all; None sets no limit beside the rate.
    """

    silence: float = 30.0
    min_rate: float = 1000.0
    window: float = 60.0
    max_seconds: float | None = None


class _Meter:
    """Counts what comes from a server, and ends what exceeds the bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._in_body = False
        self._lingering = False
        self._received = 0
        self.begin()

    def begin(self) -> None:
        """Begins the head of an answer."""
        now = time.monotonic()
        self._deadline: float | None = now + self._bounds.silence
        self._in_body = False
        self._head = self._received

    def begin_body(self, max_seconds: float | None) -> None:
        """Begins the body of an answer."""
        now = time.monotonic()
        self._deadline = None if max_seconds is None else now + max_seconds
        self._max_seconds = max_seconds
        self._in_body = True
        self._body = 0
        self._head = self._received
        self._since, self._counted = now, self._received

    def linger(self) -> None:
        """Waits no longer for more: what comes now was not stated."""
        self._lingering = True

    def timeout(self) -> float:
        """Returns how many seconds the next byte is waited for."""
        if self._lingering:
            return _LINGER
        left = self._bounds.silence
        return left if self._deadline is None else max(0.001, min(left, self._deadline - time.monotonic()))

    def receive(self, count: int) -> None:
        """Counts `count` bytes from the network."""
        self._received += count
        self.check()
        if not self._in_body and self._received - self._head > _MAX_HEAD:
            raise RefusedError(f"the head of its answer has more than {_MAX_HEAD:,} bytes")
        if self._in_body and self._received - self._head > _MAX_FRAMING * self._body + _SLACK:
            raise RefusedError("it sends next to nothing but the framing of chunks")

    def deliver(self, count: int) -> None:
        """Counts `count` bytes of the body."""
        self._body += count

    def check(self) -> None:
        """Raises `BrokenError` if the answer takes too long."""
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            if not self._in_body:
                raise BrokenError(f"no complete answer within {self._bounds.silence:g} seconds, timed out")
            raise BrokenError(f"not complete within {self._max_seconds:g} seconds")
        if self._in_body and now - self._since >= self._bounds.window:
            rate = (self._received - self._counted) / (now - self._since)
            if rate < self._bounds.min_rate:
                raise BrokenError(
                    f"it sends {rate:,.1f} bytes a second; at least {self._bounds.min_rate:,.0f} were expected"
                )
            self._since, self._counted = now, self._received


class _MeteredSocket(io.RawIOBase):
    """What comes from a socket, counted."""

    def __init__(self, raw: Any, sock: socket.socket, meter: _Meter) -> None:
        self._raw, self._socket, self._meter = raw, sock, meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        self._socket.settimeout(self._meter.timeout())
        try:
            count: int | None = self._raw.readinto(buffer)
        except TimeoutError:
            self._meter.check()
            raise
        self._meter.receive(count or 0)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """An answer that is read through a meter."""

    def __init__(self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, *, meter: _Meter) -> None:
        super().__init__(sock, debuglevel, method)
        self.meter = meter
        # `detach` gives the unbuffered reader of the socket.
        raw: Any = self.fp
        self.reader: Any = io.BufferedReader(_MeteredSocket(raw.detach(), sock, meter))
        self.fp = self.reader

    def _read_next_chunk_size(self) -> int:
        size: int = super()._read_next_chunk_size()  # type: ignore[misc]
        if size < 0:
            raise ValueError("a chunk of negative length")
        return size


class _Handler(urllib.request.HTTPSHandler):
    """Opens http and https by connections whose answers are metered."""

    def __init__(self, meter: _Meter) -> None:
        super().__init__()
        self._meter = meter

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._metered(http.client.HTTPConnection), req)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._metered(http.client.HTTPSConnection), req, context=self._context)  # type: ignore[attr-defined]

    http_request = urllib.request.AbstractHTTPHandler.do_request_

    def _metered(self, kind: Callable[..., http.client.HTTPConnection]) -> Any:
        def connection(*args: Any, **kwargs: Any) -> http.client.HTTPConnection:
            made = kind(*args, **kwargs)
            made.response_class = partial(_Response, meter=self._meter)  # type: ignore[assignment]
            return made

        return connection


class Answer:
    """The answer of a server, its body not yet read.

    Attributes:
        status: The code.
        reason: What the server says of it, without control characters.
        headers: The fields of its head.
        length: How many bytes the body has, if it says so.
        ends_itself: Whether the end of the body can be told from a broken connection.
    """

    def __init__(self, response: _Response) -> None:
        self._response = response
        self.status: int = response.status
        self.reason = printable(response.reason or "")
        self.headers = response.headers
        self.length = None if response.chunked else _stated_length(response.headers)
        self.ends_itself = bool(response.chunked) or self.length is not None

    def blocks(self, *, first: int = 0, max_seconds: float | None = None) -> Iterator[bytes]:
        """Yields the body as it comes.

        Args:
            first: Where the body begins in the file, for messages.
            max_seconds: Seconds that the body may take in all.

        Raises:
            BrokenError: It breaks off, is too slow, or takes too long.
            RefusedError: It is longer than stated.
        """
        response, done = self._response, 0
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            raise RefusedError(f"it sends the file encoded ({printable(encoding)}), which was not asked for")
        response.meter.begin_body(max_seconds)
        while self.length is None or done < self.length:
            try:
                # read1 gives what has come: a slow connection shows progress, and what came before a break is kept.
                if response.chunked:
                    block = response.read1(_BLOCK)
                else:
                    block = response.reader.read1(min(_BLOCK, (self.length or _BLOCK + done) - done))
            except http.client.IncompleteRead as error:
                raise BrokenError("the connection ended early") from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise BrokenError(_reason(error)) from error
            if not block:
                break
            done += len(block)
            response.meter.deliver(len(block))
            yield block
        if self.length is not None and done < self.length:
            raise BrokenError(f"the connection ended after {first + done:,} of {first + self.length:,} bytes")
        if self.length is not None and self._more():
            raise RefusedError(f"it sent more than the {first + self.length:,} bytes that it stated")

    def _more(self) -> bool:
        self._response.meter.linger()
        with contextlib.suppress(OSError, ValueError, BrokenError):
            return bool(self._response.reader.peek(1))
        return False


@contextlib.contextmanager
def open_url(url: str, *, headers: Mapping[str, str] | None = None, bounds: Bounds | None = None) -> Iterator[Answer]:
    """Opens an address; redirects are followed to http and https only, and never from https to http.

    Args:
        url: An http or https address; proxies of the environment are used.
        headers: Further fields of the request.
        bounds: How long the server may take.

    Raises:
        BrokenError: There is no answer.
        RefusedError: The address or a redirect is of another scheme, or the head is none of HTTP.
    """
    bounds = bounds or Bounds()
    fields = {"User-Agent": f"risctl/{__version__}", "Accept-Encoding": "identity"} | dict(headers or {})
    meter = _Meter(bounds)
    opener = urllib.request.OpenerDirector()
    for handler in (urllib.request.ProxyHandler(), _Handler(meter)):
        opener.add_handler(handler)
    for _ in range(MAX_REDIRECTS + 1):
        if urlsplit(url).scheme.lower() not in _SCHEMES:
            raise RefusedError(f"expected an http or https address, got {printable(url)}")
        meter.begin()
        try:
            response = opener.open(urllib.request.Request(url, headers=fields), timeout=bounds.silence)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise BrokenError(_reason(error)) from error
        if not isinstance(response, _Response):
            raise BrokenError("the proxy of the environment is neither http nor https")
        # The body of a redirect is not read: it may be endless.
        with contextlib.closing(response):
            if response.status not in _REDIRECTS or not response.headers.get("Location"):
                yield Answer(response)
                return
            url = _redirected(url, response.headers["Location"])
    raise RefusedError(f"it redirects more than {MAX_REDIRECTS} times")


def printable(text: str, *, limit: int = 200) -> str:
    """Returns `text` of a server for a message: one line, without control characters, cut at `limit`."""
    shown = "".join(character if character.isprintable() else "?" for character in text.strip())
    return shown if len(shown) <= limit else f"{shown[:limit]}…"


def number(text: str) -> int | None:
    """Returns the count of bytes that a server states; None if it is none that a file can have."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _redirected(url: str, location: str) -> str:
    try:
        target = urljoin(url, quote(location.strip(), safe=string.punctuation, encoding="iso-8859-1", errors="replace"))
        scheme = urlsplit(target).scheme.lower()
    except ValueError as error:
        raise RefusedError(f"it redirects to {printable(location)}, which is no address") from error
    if scheme not in _SCHEMES:
        raise RefusedError(f"it redirects to {printable(target)}, which is no http or https address")
    if scheme == "http" and urlsplit(url).scheme.lower() == "https":
        raise RefusedError(f"it redirects from https to {printable(target)}, which is not encrypted")
    return target


def _stated_length(headers: Any) -> int | None:
    stated = {value.strip() for value in headers.get_all("Content-Length") or ()}
    if headers.get("Transfer-Encoding"):
        raise RefusedError(f"it sends the file as {printable(headers['Transfer-Encoding'])}, which is not known here")
    if not stated:
        return None
    length = number(stated.pop()) if len(stated) == 1 else None
    if length is None:
        raise RefusedError("it states an impossible length (Content-Length)")
    return length


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return printable(str(reason)) or type(error).__name__
