"""Examines the machine and the installation for `risctl doctor`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from risctl.environment.machine import examine_devices, examine_disks
from risctl.environment.packages import examine_extras, examine_packages, examine_torchvision
from risctl.environment.probes import FULL, QUICK, probing
from risctl.environment.report import Health
from risctl.environment.resources import examine_cached_weights, examine_models, examine_stores, hub_cache
from risctl.threads import free_cores

QUICK_SECONDS = 2.6
"""Seconds after the start of this process until which packages may answer: the report takes 3 seconds at most."""

FULL_SECONDS = 180.0


def examine(*, data: Sequence[Path] = (Path("data"),), full: bool = False) -> Health:
    """Examines the machine and the installation.

    Args:
        data: The folders to look for stores in.
        full: Whether packages are imported that take long, and waited for. Otherwise a package that does not answer in
            time is noted as not examined.

    Returns:
        All findings. Nothing is imported that may crash the interpreter.
    """
    folders = {"here": Path.cwd(), **{f"data ({root})": root for root in data}, "model cache": hub_cache()}
    seconds = FULL_SECONDS if full else max(1.0, QUICK_SECONDS - _age())
    free = free_cores()
    with probing(FULL if full else QUICK, seconds=seconds) as probes:
        extras, disks = [*examine_extras()], [*examine_disks(folders)]
        models = [*examine_models(), *examine_cached_weights()]
        compiled = probes.result("compiled")
        h5py_works = not compiled.failed and "h5py" not in compiled.found.get("errors", {})
        stores = [*examine_stores(data, h5py_works=h5py_works)]
        results = probes.results()
    return Health(
        [
            *examine_packages(results),
            *examine_torchvision(results),
            *extras,
            *examine_devices(results, free=free),
            *disks,
            *stores,
            *models,
        ]
    )


def _age() -> float:
    """Returns the seconds since this process was started, 0 where the system does not tell."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        # Of the fields after the name in brackets, the 20th is the start in clock ticks after the system's.
        return max(0.0, uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0
