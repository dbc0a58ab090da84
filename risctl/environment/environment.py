"""What `risctl doctor` says of the machine and of what lies on its disk: devices, space, stores, models."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from risctl.environment.findings import GIB, Finding, size
from risctl.environment.probes import Answer
from risctl.errors import DataError

LITTLE_SPACE = 2 * GIB
"""Free bytes under which a disk is worth a remark: a checkpoint of VLT with its optimizer takes about one GB."""


def devices(answer: Answer) -> Iterator[Finding]:
    def finding(name: str, value: str, **more: Any) -> Finding:
        return Finding(section="Devices", name=name, value=value, **more)

    found = answer.found
    cards: list[dict[str, Any]] = found.get("cuda", [])
    for index, card in enumerate(cards):
        yield finding(f"cuda:{index}", f"{card['name']}, {size(card['free'])} of {size(card['total'])} free")
    if not cards and "torch" in found:
        if found.get("cuda_build") is None:
            yield finding("cuda", "none; this torch is built without CUDA")
        elif found.get("cuda_error"):
            yield finding(
                "cuda", f"does not answer: {found['cuda_error']}", state="note", remedy="check the GPU driver"
            )
        else:
            yield finding("cuda", f"no usable GPU; this torch is built for CUDA {found['cuda_build']}")
    yield finding("mps", "available" if found.get("mps") else "none")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = f", torch uses {found['threads']} threads" if "threads" in found else ""
    yield finding("cpu", f"{usable} of {os.cpu_count()} cores{threads}")
    memory = _memory()
    yield finding("memory", size(memory) if memory else "unknown")


def _memory() -> int | None:
    """Return the bytes of memory this process may use: the machine's, or the container's limit if that is less."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        return total
    return min(total, int(limit)) if limit.isdigit() else total


def disks(data: Sequence[Path]) -> Iterator[Finding]:
    places = [("here", Path.cwd()), *((f"data ({root})", root) for root in data), ("model cache", hub_cache())]
    for name, place in places:
        existing = next((one for one in (place.absolute(), *place.absolute().parents) if one.exists()), None)
        if existing is None:
            continue
        free = shutil.disk_usage(existing).free
        state: Literal["ok", "note"] = "ok" if free >= LITTLE_SPACE else "note"
        remedy = None if state == "ok" else "make room, or work on another disk"
        yield Finding(section="Disk", name=name, value=f"{size(free)} free", state=state, remedy=remedy)


def stores(data: Sequence[Path], *, readable: bool) -> Iterator[Finding]:
    for root in data:
        if not root.is_dir():
            yield Finding(section="Data", name=str(root), value="no such folder; `risctl prepare` makes it")
            continue
        files = sorted((*root.glob("*.h5"), *root.glob("*/*.h5")))
        yield Finding(section="Data", name=str(root), value=f"{len(files)} .h5 files")
        for file in files:
            yield _store(file, readable=readable)


def _store(file: Path, *, readable: bool) -> Finding:
    bytes_ = size(file.stat().st_size)
    if not readable:
        return Finding(section="Data", name=str(file), value=f"{bytes_}, not opened as h5py does not work")
    from risctl.data.store.reader import Store

    try:
        with Store(file) as store:
            splits = ", ".join(f"{split} {row['sentences']}" for split, row in store.counts().items())
            return Finding(section="Data", name=str(file), value=f"{store.name}, {bytes_}, sentences: {splits}")
    except DataError as error:
        return Finding(section="Data", name=str(file), value=f"{bytes_}, not a usable store: {error}", state="note")


def language_models() -> Iterator[Finding]:
    names = sorted(point.name for point in importlib.metadata.entry_points(group="spacy_models"))
    yield Finding(
        section="Language models",
        name="spaCy models",
        value=", ".join(f"{name} {_installed(name)}" for name in names) or "none installed (optional)",
    )


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown)"


def hub_cache() -> Path:
    """Return the folder in which the Hugging Face libraries keep downloaded models."""
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"])
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("HF_HOME", cache / "huggingface")) / "hub"


def torch_cache() -> Path:
    """Return the folder in which torch.hub keeps downloaded weights."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("TORCH_HOME", cache / "torch")) / "hub" / "checkpoints"


def cached_weights() -> Iterator[Finding]:
    models = sorted(hub_cache().glob("models--*"))
    held = [f"{one.name.removeprefix('models--').replace('--', '/')} ({size(_weight(one))})" for one in models]
    files = sorted(one for one in torch_cache().glob("*") if one.is_file())
    kept = [f"{one.name} ({size(one.stat().st_size)})" for one in files]
    for name, folder, names in (("Hugging Face", hub_cache(), held), ("torch.hub", torch_cache(), kept)):
        yield Finding(section="Cached weights", name=f"{name} ({folder})", value=", ".join(names) or "none")


def _weight(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("blobs/*") if file.is_file())
