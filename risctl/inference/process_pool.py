"""Shares images out among forked processes, each of which computes with one thread, and puts the outcomes in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection, wait
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from risctl.errors import WorkerKilledError
from risctl.inference.batch_size import BatchSize
from risctl.inference.image_work import ImageWork, Outcome, attempt, encoded_batch, finished
from risctl.threads import free_cores, is_explicit

Item = TypeVar("Item")
Result = TypeVar("Result")
_SECONDS = 0.05  # that the images of one message are to take, so that messages cost little and nobody waits long
_MOST = 64  # images of a message
_MESSAGES = 2  # that a process has at least: the images of the second are read while those of the first are computed
_FEWEST = 4  # images for each process, below which another one is not worth its start
_BYTES = 400_000_000  # that a process may take beside the weights, which it shares


def process_count(wanted: int | None, *, images: int | None, forks: bool) -> int:
    """Returns how many processes compute.

    Args:
        wanted: The number that was asked for; None: as many as cores are free, within the memory, and 1 where a
            variable such as `OMP_NUM_THREADS` says how many threads there are to be.
        images: How many images there are; None if that is not known.
        forks: Whether the model may be used in forked processes.
    """
    if not forks or not can_fork():
        return 1
    most = sys.maxsize if images is None else max(1, images // _FEWEST)
    if wanted is not None:
        return max(1, min(wanted, images or wanted))
    if is_explicit() or most == 1:
        return 1
    return max(1, min(round(free_cores()), most, _free_memory() // _BYTES))


def can_fork() -> bool:
    """Returns whether this system forks processes that may compute."""
    return sys.platform.startswith("linux") and hasattr(os, "fork")


def in_processes(
    work: ImageWork[Item, Result], items: Iterable[Item], *, processes: int, batch: int, threads: int = 1
) -> Iterator[Outcome[Item, Result]]:
    """Does `work` on images in forked processes. See `risctl.inference.image_stream.stream`.

    A process ends when this one does, however that ends: it reads the end of its pipe.
    """
    pool = _Pool(work, processes=processes, batch=batch, threads=max(1, threads))
    source = enumerate(items)
    given: dict[int, Item] = {}
    done: dict[int, tuple[Any, Exception | None, bool]] = {}
    number = 0
    try:
        while True:
            for worker in pool.idle():
                # So many ahead of a slow image, and no more: what is done stays in memory until its turn.
                room = processes * (pool.ahead + 2 * pool.size) - len(given)
                some = list(islice(source, min(pool.size, room))) if room > 0 else []
                if not some:
                    break
                given.update(some)
                pool.give(worker, some)
            if number in done:
                result, error, unread = done.pop(number)
                yield Outcome(item=given.pop(number), result=result, error=error, unread=unread)
                number += 1
            elif number in given:
                for place, *rest in pool.take():
                    done[place] = (rest[0], rest[1], rest[2])
            else:
                break
    finally:
        pool.close()


@dataclass(eq=False, slots=True)
class _Worker:
    process: Any
    pipe: Connection
    given: list[int] = field(default_factory=list)


@dataclass
class _Pool:
    """Forked processes. Each takes its messages in a thread, so that neither end waits for the other to read."""

    work: Any
    processes: int
    batch: int
    threads: int
    size: int = 1
    _workers: list[_Worker] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.size = self.batch
        context = multiprocessing.get_context("fork")
        for _ in range(self.processes):
            ours, theirs = context.Pipe()
            others = [ours, *(worker.pipe for worker in self._workers)]
            process = context.Process(
                target=_serve, args=(self.work, theirs, others, self.batch, self.threads), daemon=True
            )
            process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours))

    @property
    def ahead(self) -> int:
        """How many images a process has at a time: enough that no thread that reads waits for images."""
        return max(_MESSAGES * self.size, 2 * self.threads)

    def idle(self) -> list[_Worker]:
        """Returns the processes that take a further message, those with the fewest first."""
        found = [worker for worker in self._workers if sum(worker.given) < self.ahead]
        return sorted(found, key=lambda worker: sum(worker.given))

    def give(self, worker: _Worker, some: list[Any]) -> None:
        worker.given.append(len(some))
        try:
            worker.pipe.send(some)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _killed(worker) from error

    def take(self) -> list[Any]:
        """Waits for a message, and returns what is in all that have come."""
        pipes = {worker.pipe: worker for worker in self._workers if worker.given}
        found: list[Any] = []
        for pipe in wait(list(pipes)):
            worker = pipes[pipe]  # type: ignore[index]
            try:
                outcomes, seconds, crash = worker.pipe.recv()
            except (EOFError, ConnectionResetError) as error:
                raise _killed(worker) from error
            if crash:
                raise RuntimeError(f"in a process of its own:\n{crash}")
            found += outcomes
            if worker.given.pop(0) == self.size and seconds < _SECONDS / 2:
                self.size = min(_MOST, 2 * self.size)
            elif seconds > 2 * _SECONDS:
                self.size = max(self.batch, self.size // 2)
        return found

    def close(self) -> None:
        for worker in self._workers:
            worker.pipe.close()
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join()


def _serve(work: Any, pipe: Connection, others: list[Connection], batch: int, threads: int) -> None:
    """Works off messages until the other process is gone."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process that gives the images ends us
    for other in others:
        other.close()
    # After a fork the threads of the other process are not there; one thread needs none of them.
    torch.set_num_threads(1)
    readers = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="read")
    messages: SimpleQueue[list[tuple[int, Any, Future[Any]]] | None] = SimpleQueue()

    def receive() -> None:
        try:
            while True:
                messages.put([(number, item, readers.submit(attempt, work.read, item)) for number, item in pipe.recv()])
        except (EOFError, OSError):
            messages.put(None)

    Thread(target=receive, daemon=True).start()
    while (message := messages.get()) is not None:
        began = time.monotonic()
        outcomes: list[Any] = []
        crash = ""
        try:
            for start in range(0, len(message), batch):
                some = message[start : start + batch]
                read = [future.result() for _, _, future in some]
                for (number, item, _), one, encoded in zip(
                    some, read, encoded_batch(work, read, BatchSize(batch)), strict=True
                ):
                    outcome = finished(work, item, one, encoded)
                    outcomes.append((number, outcome.result, outcome.error, outcome.unread))
        except Exception:
            crash = traceback.format_exc()
        try:
            pipe.send((outcomes, time.monotonic() - began, crash))
        except OSError:
            break
    os._exit(0)


def _killed(worker: _Worker) -> WorkerKilledError:
    worker.process.join(1)
    return WorkerKilledError(
        f"a process that computes has ended (code {worker.process.exitcode}), which the system does for want of "
        "memory; take fewer with --workers"
    )


def _free_memory() -> int:
    """Returns the bytes of memory that are free; a large number where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123  no path of the user's
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 1 << 40
