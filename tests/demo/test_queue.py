"""The queue: its bounds, its one thread, and what a deadline does."""

from __future__ import annotations

import asyncio
import threading

import pytest

pytest.importorskip("fastapi", reason="the demo's server needs risctl[demo]")
from risctl.demo.limits import Deadline, Limits
from risctl.demo.metrics import Metrics
from risctl.demo.problems import ProblemError
from risctl.demo.queue import Queue


def test_places_are_bounded_in_all_and_for_each_client() -> None:
    async def run() -> None:
        queue = Queue(Limits(waiting=3, waiting_per_client=2, held_bytes=100), Metrics())
        async with queue.place("one", body_bytes=10), queue.place("one", body_bytes=10):
            with pytest.raises(ProblemError) as refused:
                async with queue.place("one", body_bytes=10):
                    pass
            assert refused.value.status == 429 and int(refused.value.headers["Retry-After"]) > 0
            with pytest.raises(ProblemError) as refused:
                async with queue.place("two", body_bytes=81):
                    pass
            assert refused.value.status == 503
            async with queue.place("two", body_bytes=10):
                with pytest.raises(ProblemError) as refused:
                    async with queue.place("three", body_bytes=1):
                        pass
                assert refused.value.status == 503 and "Retry-After" in refused.value.headers
        assert queue.waiting == 0
        async with queue.place("one", body_bytes=100):
            assert queue.waiting == 1
        queue.close()

    asyncio.run(run())


def test_what_waits_too_long_is_never_computed() -> None:
    async def run() -> None:
        queue, free, begun = Queue(Limits(), Metrics()), threading.Event(), threading.Event()
        computed: list[str] = []

        def long() -> str:
            begun.set()
            assert free.wait(60)
            return "first"

        first = asyncio.create_task(queue.run(long, Deadline(60)))
        await asyncio.to_thread(begun.wait, 60)
        with pytest.raises(ProblemError) as late:
            await queue.run(lambda: computed.append("second"), Deadline(0.01))
        assert late.value.status == 503 and "Retry-After" in late.value.headers
        free.set()
        assert await first == "first"
        assert await queue.run(lambda: "third", Deadline(60)) == "third"
        assert not computed
        queue.close()

    asyncio.run(run())


def test_an_error_of_the_work_reaches_who_waits() -> None:
    async def run() -> None:
        queue = Queue(Limits(), Metrics())

        def fails() -> None:
            raise MemoryError

        with pytest.raises(MemoryError):
            await queue.run(fails, Deadline(60))
        queue.close()

    asyncio.run(run())
