"""Counts what the server does, and writes it as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH")
_PAGE_SIZE = 4096


class Metrics:
    """Counters of one server; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[float] = Counter()
        self._seconds, self._count = 0.0, 0
        self._events: Counter[str] = Counter(dict.fromkeys(_EVENTS, 0))

    def add(self, event: str, number: int = 1) -> None:
        """Counts an event, one of `_EVENTS`."""
        with self._lock:
            self._events[event] += number

    def request(self, method: str, route: str, status: int, *, seconds: float) -> None:
        """Counts an answered request."""
        with self._lock:
            self._requests[method if method in _METHODS else "other", route, status] += 1
            self._seconds += seconds
            self._count += 1
            for bound in _BOUNDS:
                self._buckets[bound] += seconds <= bound

    def text(self, *, waiting: int, images: int) -> str:
        """Returns all figures.

        Args:
            waiting: Requests that are being answered or wait.
            images: Images that are kept encoded.
        """
        with self._lock:
            lines = [
                "# HELP risctl_requests_total Requests that were answered.",
                "# TYPE risctl_requests_total counter",
            ]
            lines += [
                *(
                    f'risctl_requests_total{{method="{method}",route="{route}",status="{status}"}} {number}'
                    for (method, route, status), number in sorted(self._requests.items())
                ),
            ]
            lines += [
                "# HELP risctl_request_seconds How long requests took.",
                "# TYPE risctl_request_seconds histogram",
                *(f'risctl_request_seconds_bucket{{le="{bound:g}"}} {self._buckets[bound]}' for bound in _BOUNDS),
                f'risctl_request_seconds_bucket{{le="+Inf"}} {self._count}',
                f"risctl_request_seconds_sum {self._seconds:.6f}",
                f"risctl_request_seconds_count {self._count}",
            ]
            for name, meaning in _EVENTS.items():
                lines += [f"# HELP risctl_{name}_total {meaning}", f"# TYPE risctl_{name}_total counter"]
                lines.append(f"risctl_{name}_total {self._events[name]}")
        for name, meaning, value in (
            ("risctl_waiting_requests", "Requests that are being answered or wait.", waiting),
            ("risctl_images", "Images that are kept encoded.", images),
            ("process_resident_memory_bytes", "Memory of the process.", _resident_bytes()),
        ):
            if value is not None:
                lines += [f"# HELP {name} {meaning}", f"# TYPE {name} gauge", f"{name} {value}"]
        return "\n".join(lines) + "\n"


_EVENTS = {
    "encoded_images": "Images that a model encoded.",
    "reused_images": "Requests whose image was encoded already.",
    "phrases": "Phrases that were answered.",
    "refused": "Requests that were refused because there was too much to do.",
    "timeouts": "Requests that took too long.",
}


class Measured:
    """Counts the requests of an application."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request and counts it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            # By its route, never by its path: whoever asks for a million paths must not make a million counters.
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.request(scope["method"], route, status, seconds=time.perf_counter() - start)


def _resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * _PAGE_SIZE
