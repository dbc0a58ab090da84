"""The one thread that computes, and the requests that wait for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from risctl.demo.limits import Deadline, Limits
from risctl.demo.metrics import Metrics
from risctl.demo.problems import ProblemError, too_busy

T = TypeVar("T")


class Queue:
    """Lets requests in within bounds, and computes for one after the other.

    Attributes:
        waiting: Requests that are let in and not yet answered.
    """

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self.waiting = 0
        self._limits, self._metrics = limits, metrics
        self._of_client: Counter[str] = Counter()
        self._bytes = 0
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="risctl-demo")

    @asynccontextmanager
    async def place(self, client: str, *, body_bytes: int) -> AsyncIterator[None]:
        """Holds a place for a request within the block.

        Args:
            client: The address that it comes from.
            body_bytes: How long its body is.

        Raises:
            ProblemError: 429 where the client has too many places already, 503 where there is none left.
        """
        limits = self._limits
        if self._of_client[client] >= limits.waiting_per_client:
            self._metrics.add("refused")
            raise too_busy(429, "too-many-requests", f"{limits.waiting_per_client} requests of yours wait already")
        if self.waiting >= limits.waiting or self._bytes + body_bytes > limits.held_bytes:
            self._metrics.add("refused")
            raise too_busy(503, "too-busy", f"{self.waiting} requests wait already; try again in a moment")
        self.waiting += 1
        self._of_client[client] += 1
        self._bytes += body_bytes
        try:
            yield
        finally:
            self.waiting -= 1
            self._bytes -= body_bytes
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]

    async def run(self, work: Callable[[], T], deadline: Deadline) -> T:
        """Computes in the one thread once it is free.

        What has begun cannot be broken off from here: long work looks at the deadline itself, and the place that it
        takes stays taken until it ends.

        Raises:
            ProblemError: The deadline passed first.
        """
        running: Future[T] = self._pool.submit(work)
        waited = asyncio.wrap_future(running)
        done, _ = await asyncio.wait({waited}, timeout=deadline.left)
        if done:
            return waited.result()
        if not running.cancel():
            await asyncio.wait({waited})
            if waited.exception() is None:
                return waited.result()
        raise self.timeout()

    def timeout(self) -> ProblemError:
        """Returns the problem of a request that took too long."""
        self._metrics.add("timeouts")
        return too_busy(503, "timeout", "the answer would take longer than this server allows")

    def close(self) -> None:
        """Drops what waits, and waits for what is being computed."""
        self._pool.shutdown(wait=True, cancel_futures=True)
