"""Does the same work on many images, and yields what comes of each in the order of the images, in flat memory.

On a CPU, several processes each do all of the work on images of their own, with one thread: that takes less time than
one process whose threads wait for each other, and for the parts that are not parallel. They are forked, so that they
share the weights. Elsewhere (a GPU; systems that cannot fork) one process computes, images are read ahead in threads
and encoded in batches, and what is done with the answers goes on in threads of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, TypeVar

from risctl.inference.batch_size import AUTO, BatchSize
from risctl.inference.image_work import ImageWork, Outcome, attempt, encoded_batch, finished
from risctl.inference.process_pool import in_processes

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 2  # batches that are read while one is computed
_FINISHING = 4  # images whose answers are written while others are computed


def stream(
    work: ImageWork[Item, Result],
    items: Iterable[Item],
    *,
    processes: int = 1,
    batch: int | str = 1,
    threads: int = 1,
    finishers: int = 0,
) -> Iterator[Outcome[Item, Result]]:
    """Does `work` on images.

    Args:
        work: The work.
        items: The images; they are taken as they are needed.
        processes: Processes that each do all of the work, from 2 on; they are forked.
        batch: Images that are encoded together, or `auto`: as many as the memory of a GPU takes, 1 on a CPU.
        threads: Threads, of each process, that read images ahead; 0 reads each when it is needed.
        finishers: Threads of one process that finish images while others are encoded; 0 finishes each before the next
            is encoded.

    Yields:
        One outcome per image, in their order. An error of one image (it cannot be read, it needs too much memory) is
        its outcome; any other error is raised.

    Raises:
        WorkerKilledError: One of the processes was killed.
    """
    if processes > 1:
        return in_processes(work, items, processes=processes, batch=1 if batch == AUTO else int(batch), threads=threads)
    return _in_threads(work, items, size=BatchSize(batch), threads=threads, finishers=finishers)


def _in_threads(
    work: ImageWork[Item, Result], items: Iterable[Item], *, size: BatchSize, threads: int, finishers: int
) -> Iterator[Outcome[Item, Result]]:
    source = iter(items)
    readers = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="read") if threads else None
    others = ThreadPoolExecutor(max_workers=finishers, thread_name_prefix="finish") if finishers else None
    reading: deque[tuple[Item, Future[Any]]] = deque()
    finishing: deque[Future[Outcome[Item, Result]]] = deque()
    try:
        while True:
            wanted = max(size.current * _AHEAD, threads) if readers else size.current
            for item in islice(source, max(0, wanted - len(reading))):
                reading.append((item, _submit(readers, attempt, work.read, item)))
            if not reading:
                break
            some = [reading.popleft() for _ in range(min(size.current, len(reading)))]
            if readers:  # so that the next ones are read while these are encoded
                for item in islice(source, max(0, wanted - len(reading))):
                    reading.append((item, _submit(readers, attempt, work.read, item)))
            read = [future.result() for _, future in some]
            for (item, _), one, encoded in zip(some, read, encoded_batch(work, read, size), strict=True):
                finishing.append(_submit(others, finished, work, item, one, encoded))
                while len(finishing) > (_FINISHING if others else 0):
                    yield finishing.popleft().result()
        while finishing:
            yield finishing.popleft().result()
    finally:
        for pool in (readers, others):
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)


def _submit(pool: ThreadPoolExecutor | None, function: Any, *arguments: Any) -> Future[Any]:
    if pool is not None:
        return pool.submit(function, *arguments)
    future: Future[Any] = Future()
    future.set_result(function(*arguments))
    return future
