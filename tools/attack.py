"""Feeds mutated files to risctl and counts what becomes of them: refused, right, wrong, traceback, hang, memory.

    python tools/attack.py stores --count 5000 --seed 0
    python tools/attack.py stores --seed 0 --case 17

An attack is a file of `tools/attacks/` with three functions and a number:

- `prepare(folder)` writes valid originals, once;
- `mutate(folder, target, random)` writes one mutated case into the empty folder `target` and returns one line that
  says what was done;
- `check(folder, target)` reads the case with risctl and returns "right" or "wrong", or raises what risctl raises: a
  `RisctlError` counts as refused, any other exception as a traceback;
- `SUITE_COUNT` is how many cases the test suite runs.

A case depends on the seed and its number alone, so `--case` repeats one with its traceback. Cases run in processes of
their own: one that takes longer than `--seconds` is a hang, one that needs more than `--memory-mb` beyond what its
process held before counts under "memory". The command ends with 1 if any case is wrong, a traceback, a hang or beyond
the memory limit.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from risctl.errors import RisctlError

NAMES = sorted(file.stem for file in (Path(__file__).parent / "attacks").glob("[a-z]*.py"))
BAD = ("wrong", "traceback", "hang", "memory")
OUTCOMES = ("refused", "right", *BAD)
HARD_LIMIT = 8 << 30  # bytes that a process may hold at all, so that no case can take the machine down


class Result(NamedTuple):
    """Holds what became of one case.

    Attributes:
        number: The case's number.
        outcome: One of `OUTCOMES`.
        mutation: What was done to the original.
        detail: The refusal's message, or the traceback.
    """

    number: int
    outcome: str
    mutation: str
    detail: str


def main(arguments: list[str] | None = None) -> int:
    """Runs an attack and prints its counts.

    Returns:
        The exit code: 1 if a case is wrong, a traceback, a hang or beyond the memory limit.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attack", choices=NAMES)
    parser.add_argument("--count", type=int, default=1000, help="how many cases")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run this one case in this process and show its traceback")
    parser.add_argument("--workers", type=int, default=2, help="how many processes")
    parser.add_argument("--seconds", type=float, default=20.0, help="time limit of a case")
    parser.add_argument("--total-seconds", type=float, default=3600.0, help="no case is begun after this time")
    parser.add_argument("--memory-mb", type=int, default=1024, help="memory limit of a case")
    parser.add_argument("--show", type=int, default=10, help="how many bad cases are shown")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attack-") as name:
        folder = Path(name)
        originals = folder / "originals"
        originals.mkdir()
        attack = _load(options.attack)
        attack.prepare(originals)
        if options.case is not None:
            result = _run_case(attack, originals, folder / "case", options.seed, options.case)
            print(f"case {result.number}: {result.outcome}\n{result.mutation}\n{result.detail}")
            return int(result.outcome in BAD)
        results = _run_all(folder, options)
    counts = Counter(result.outcome for result in results)
    figures = ", ".join(f"{name} {counts[name]}" for name in OUTCOMES)
    seconds = time.monotonic() - start
    print(f"{options.attack}: {len(results)} cases, seed {options.seed}, {seconds:.0f} s: {figures}")
    bad = sorted(result for result in results if result.outcome in BAD)
    for result in bad[: options.show]:
        last_lines = "\n    ".join(result.detail.splitlines()[-4:])
        print(f"  case {result.number}: {result.outcome}: {result.mutation}\n    {last_lines}")
    return int(bool(bad))


def _load(name: str) -> ModuleType:
    return importlib.import_module(f"attacks.{name}")


def _run_case(attack: ModuleType, originals: Path, target: Path, seed: int, number: int) -> Result:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    mutation = attack.mutate(originals, target, random.Random(f"{seed}/{number}"))
    try:
        outcome, detail = attack.check(originals, target), ""
    except RisctlError as error:
        outcome, detail = "refused", str(error)
    except Exception:
        outcome, detail = "traceback", traceback.format_exc()
    return Result(number, outcome, mutation, detail)


def _peak_bytes() -> int:
    try:
        import resource
    except ImportError:  # Windows: no memory is measured
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _work(name: str, folder: Path, worker: int, seed: int, memory_mb: int, connection: Connection) -> None:
    """Runs the cases whose numbers come through the connection, until None comes."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (HARD_LIMIT, HARD_LIMIT))
    except (ImportError, ValueError, OSError):
        pass
    attack = _load(name)
    originals = folder / "originals"
    # The first case imports what risctl imports when it is used, which is no memory of the case.
    _run_case(attack, originals, folder / f"case-{worker}", seed, -1)
    connection.send(None)
    while (number := connection.recv()) is not None:
        before = _peak_bytes()
        result = _run_case(attack, originals, folder / f"case-{worker}", seed, number)
        growth = (_peak_bytes() - before) >> 20
        if growth > memory_mb and result.outcome not in BAD:
            result = result._replace(outcome="memory", detail=f"needed {growth} MB; {result.detail}")
        connection.send(result)


class _Worker:
    """Keeps one process busy with cases; it is begun anew when it is killed."""

    def __init__(self, folder: Path, index: int, options: argparse.Namespace) -> None:
        self.folder, self.index, self.options = folder, index, options
        self.begin()

    def begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        options = self.options
        arguments = (options.attack, self.folder, self.index, options.seed, options.memory_mb, theirs)
        self.process = context.Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.number: int | None = None
        self.since = time.monotonic()

    def give(self, number: int | None) -> None:
        self.number, self.since = number, time.monotonic()
        self.connection.send(number)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _run_all(folder: Path, options: argparse.Namespace) -> list[Result]:
    begun = time.monotonic()
    numbers = iter(range(options.count))
    results: list[Result] = []
    active = [_Worker(folder, index, options) for index in range(min(options.workers, options.count))]
    while active:
        ready = wait([worker.connection for worker in active], timeout=0.5)
        for worker in tuple(active):
            lost = ""
            if worker.connection in ready:
                try:
                    result = worker.connection.recv()
                except EOFError:
                    lost, result = "traceback", None
                if result is not None:
                    results.append(result)
            elif worker.number is not None and time.monotonic() - worker.since > options.seconds:
                lost = "hang"
            else:
                continue
            if lost:
                if worker.number is None:
                    raise SystemExit(f"a process of the attack {options.attack!r} ended before its first case")
                detail = "the process ended" if lost == "traceback" else f"took more than {options.seconds:g} s"
                results.append(Result(worker.number, lost, "see --case", detail))
                worker.end()
                worker.begin()
                continue
            out_of_time = time.monotonic() - begun > options.total_seconds
            following = None if out_of_time else next(numbers, None)
            if following is None:
                worker.end()
                active.remove(worker)
            else:
                worker.give(following)
    return results


if __name__ == "__main__":
    sys.exit(main())
