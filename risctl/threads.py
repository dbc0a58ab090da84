"""Chooses how many threads a CPU computes with: as many as cores are free, not as many as there are.

Threads that wait for a core hold up all others: on a machine whose cores are taken, one thread is several times faster
than one for each core.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

EXPLICIT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Variables by which a user says how many threads there are to be."""

_WINDOW = 0.1  # seconds of watching; the kernel counts in hundredths
_CGROUPS = Path("/sys/fs/cgroup")

_chosen = False
_watched: _Times | None = None


def watch() -> None:
    """Begins to watch the cores, so that `free_cores` need not wait: torch takes seconds to import anyway."""
    global _watched
    _watched = _Times.now(_allowed())


def choose_threads() -> None:
    """Lowers the number of torch's threads to that of the free cores, once a process.

    A number that the user has set stays: by `OMP_NUM_THREADS`, `MKL_NUM_THREADS` or `torch.set_num_threads`.
    """
    global _chosen
    import torch

    if _chosen or is_explicit() or torch.get_num_threads() not in (usable_cores(), _physical_cores(), os.cpu_count()):
        return
    _chosen = True
    free = max(1, round(free_cores()))
    if free < torch.get_num_threads():
        torch.set_num_threads(free)


def keep_threads(count: int) -> None:
    """Computes with `count` threads, as a run did before: with another number, sums are rounded differently.

    A number that the user has set by a variable stays.
    """
    global _chosen
    import torch

    if not is_explicit():
        _chosen = True
        torch.set_num_threads(count)


def is_explicit() -> bool:
    """Returns whether the user has said, by a variable, how many threads there are to be."""
    return any(os.environ.get(name) for name in EXPLICIT)


def usable_cores() -> int:
    """Returns the number of cores that this process may use, at least 1."""
    return max(1, math.floor(min(len(_allowed()), _quota())))


def free_cores() -> float:
    """Returns how many of the usable cores nobody else is using, since `watch` or within a tenth of a second."""
    allowed = _allowed()
    before = _watched or _Times.now(allowed)
    if before is None:
        return min(_quota(), max(0.0, len(allowed) - _load()))
    time.sleep(max(0.0, before.clock + _WINDOW - time.monotonic()))
    after = _Times.now(allowed)
    passed = 0.0 if after is None else after.total - before.total
    if after is None or passed <= 0:
        return float(usable_cores())
    # What this process took itself is free for it.
    own = (after.own - before.own) / (after.clock - before.clock)
    idle = len(allowed) * (after.idle - before.idle) / passed
    return min(_quota(), len(allowed), idle + own)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Times:
    """What the kernel has counted for some cores, in its own unit, and for this process, in seconds."""

    idle: float
    total: float
    own: float
    clock: float

    @classmethod
    def now(cls, cores: set[int]) -> _Times | None:
        """Reads the counters; None where the system has none."""
        try:
            lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
            rows = [line.split() for line in lines if line.startswith("cpu") and line[3:4].isdigit()]
            # user, nice, system, idle, iowait, irq, softirq, steal; guests are counted within user.
            times = [[float(field) for field in row[1:9]] for row in rows if int(row[0][3:]) in cores]
        except (OSError, ValueError):
            return None
        if not times or min(map(len, times)) < 5:
            return None
        return cls(
            idle=sum(row[3] + row[4] for row in times),
            total=sum(map(sum, times)),
            own=time.process_time(),
            clock=time.monotonic(),
        )


def _allowed() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _physical_cores() -> int:
    """Returns the number of usable cores with those that share one counted once: what torch takes by default."""
    shared = set()
    for core in _allowed():
        file = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        try:
            shared.add(file.read_text(encoding="ascii"))
        except OSError:
            shared.add(str(core))
    return len(shared)


def _quota() -> float:
    """Returns how many cores' time the control groups of this process allow it, infinite without a limit."""
    found = [math.inf]
    for folder in _groups("", _CGROUPS):
        limit, _, period = _read(folder / "cpu.max").partition(" ")
        found.append(_share(limit, period))
    for folder in _groups("cpu", _CGROUPS / "cpu"):
        found.append(_share(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")))
    return min(found)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yields the folders of this process's control group and of those around it."""
    inner = Path()
    for line in _read(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            inner = Path(path.lstrip("/"))
    yield from (root / inner, *(root / one for one in inner.parents))


def _share(limit: str, period: str) -> float:
    try:
        return float(limit) / float(period) if float(limit) > 0 and float(period) > 0 else math.inf
    except ValueError:  # "max", or no such file
        return math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return ""


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
