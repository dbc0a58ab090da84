"""Examines the machine and the installation for `risctl doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from risctl.environment.machine import examine_devices, examine_disks
from risctl.environment.packages import examine_extras, examine_packages, examine_torchvision
from risctl.environment.probes import run_probes
from risctl.environment.report import Health
from risctl.environment.resources import examine_cached_weights, examine_models, examine_stores, hub_cache


def examine(*, data: Sequence[Path] = (Path("data"),)) -> Health:
    """Examines the machine and the installation.

    Args:
        data: The folders to look for stores in.

    Returns:
        All findings. Nothing is imported that may crash the interpreter.
    """
    probes = run_probes()
    h5py_works = "h5py" not in probes["others"].found.get("errors", {"h5py": ""})
    folders = {"here": Path.cwd(), **{f"data ({root})": root for root in data}, "model cache": hub_cache()}
    return Health(
        [
            *examine_packages(probes),
            *examine_torchvision(probes),
            *examine_extras(),
            *examine_devices(probes["torch"]),
            *examine_disks(folders),
            *examine_stores(data, h5py_works=h5py_works),
            *examine_models(),
            *examine_cached_weights(),
        ]
    )
