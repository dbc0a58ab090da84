"""Examines the machine: devices, memory and disk space."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from risctl.environment.probes import ProbeResult
from risctl.environment.report import GIB, Finding, size
from risctl.threads import EXPLICIT, usable_cores

LITTLE_SPACE = 2 * GIB
"""Free bytes below which a disk is noted: a checkpoint of VLT with its optimizer takes about one GB."""


def examine_devices(probes: Mapping[str, ProbeResult], *, free: float) -> Iterator[Finding]:
    """Yields the GPUs, CPU cores and memory.

    Args:
        probes: The results of `torch` and `gpus`.
        free: How many cores nobody else is using.
    """

    def finding(name: str, value: str, **more: Any) -> Finding:
        return Finding(section="Devices", name=name, value=value, **more)

    found, gpus = probes["torch"].found, probes["gpus"]
    cards: list[dict[str, Any]] = gpus.found.get("cuda", [])
    for index, card in enumerate(cards):
        yield finding(f"cuda:{index}", f"{card['name']}, {size(card['free'])} of {size(card['total'])} free")
    if not cards and "torch" in found:
        error = gpus.found.get("error") or gpus.failed
        if found.get("cuda_build") is None:
            yield finding("cuda", "none; this torch is built without CUDA")
        elif error:
            yield finding("cuda", f"does not answer: {error}", state="note", remedy="check the GPU driver")
        else:
            yield finding("cuda", f"no usable GPU; this torch is built for CUDA {found['cuda_build']}")
    if "mps" in found:
        yield finding("mps", "available" if found["mps"] else "none")
    usable = usable_cores()
    yield finding("cpu", f"{usable} of {os.cpu_count()} cores, {min(free, usable):.1f} of them free")
    yield finding("threads", _threads(found.get("threads", usable), free=free))
    memory = _memory()
    yield finding("memory", size(memory) if memory else "unknown")


def _threads(usable: int, *, free: float) -> str:
    explicit = [f"{name}={os.environ[name]}" for name in EXPLICIT if os.environ.get(name)]
    if explicit:
        return f"{usable}, by {' and '.join(explicit)}"
    return f"{max(1, min(usable, round(free)))} on the CPU, by the free cores; OMP_NUM_THREADS sets another number"


def _memory() -> int | None:
    """Returns the bytes of memory that this process may use: the machine's, or the container's limit if it is less."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def examine_disks(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Yields the free space of the disks of some folders, by name."""
    for name, folder in folders.items():
        existing = next((path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()), None)
        if existing is None:
            continue
        free = shutil.disk_usage(existing).free
        state: Literal["ok", "note"] = "ok" if free >= LITTLE_SPACE else "note"
        remedy = None if state == "ok" else "make room, or work on another disk"
        yield Finding(section="Disk", name=name, value=f"{size(free)} free", state=state, remedy=remedy)
