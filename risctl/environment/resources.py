"""Examines what is on the disk: stores, models and downloaded weights."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import risctl
from risctl.environment.report import Finding, size
from risctl.errors import DataError


def examine_stores(data: Sequence[Path], *, h5py_works: bool) -> Iterator[Finding]:
    """Yields the stores in the data folders.

    Args:
        data: The folders.
        h5py_works: Whether stores can be opened.
    """
    for root in data:
        if not root.is_dir():
            yield Finding(section="Data", name=str(root), value="no such folder; `risctl prepare` makes it")
            continue
        files = sorted((*root.glob("*.h5"), *root.glob("*/*.h5")))
        yield Finding(section="Data", name=str(root), value=f"{len(files)} .h5 files")
        for file in files:
            yield _store(file, h5py_works=h5py_works)


def _store(file: Path, *, h5py_works: bool) -> Finding:
    bytes_ = size(file.stat().st_size)
    if not h5py_works:
        return Finding(section="Data", name=str(file), value=f"{bytes_}, not opened as h5py does not work")
    from risctl.data.store.reader import Store

    try:
        with Store(file) as store:
            splits = ", ".join(f"{split} {row['sentences']}" for split, row in store.counts().items())
            return Finding(section="Data", name=str(file), value=f"{store.name}, {bytes_}, sentences: {splits}")
    except DataError as error:
        return Finding(section="Data", name=str(file), value=f"{bytes_}, not a usable store: {error}", state="note")


def examine_models() -> Iterator[Finding]:
    """Yields the models that come with risctl and the installed spaCy models."""
    section = "Models"
    folder = Path(risctl.__file__).parent / "models"
    shipped = sorted(folder.glob("*.safetensors"))
    for file in shipped:
        value = f"{size(file.stat().st_size)}, comes with risctl and is used unless --model names another"
        yield Finding(section=section, name=file.stem, value=value)
    if not shipped:
        remedy = "reinstall risctl, or name a model with --model"
        yield Finding(section=section, name="mini", value=f"missing in {folder}", state="note", remedy=remedy)
    names = sorted(point.name for point in importlib.metadata.entry_points(group="spacy_models"))
    yield Finding(
        section=section,
        name="spaCy models",
        value=", ".join(f"{name} {_installed(name)}" for name in names) or "none installed (optional)",
    )


def _installed(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(version unknown)"


def hub_cache() -> Path:
    """Returns the folder in which the Hugging Face libraries keep downloaded models."""
    if "HF_HUB_CACHE" in os.environ:
        return Path(os.environ["HF_HUB_CACHE"])
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("HF_HOME", cache / "huggingface")) / "hub"


def torch_cache() -> Path:
    """Returns the folder in which torch.hub keeps downloaded weights."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("TORCH_HOME", cache / "torch")) / "hub" / "checkpoints"


def examine_cached_weights() -> Iterator[Finding]:
    """Yields the weights that the Hugging Face libraries and torch.hub have downloaded."""
    models = sorted(hub_cache().glob("models--*"))
    hub_names = [
        f"{model.name.removeprefix('models--').replace('--', '/')} ({size(_blob_bytes(model))})" for model in models
    ]
    files = sorted(path for path in torch_cache().glob("*") if path.is_file())
    torch_names = [f"{file.name} ({size(file.stat().st_size)})" for file in files]
    for name, folder, names in (("Hugging Face", hub_cache(), hub_names), ("torch.hub", torch_cache(), torch_names)):
        yield Finding(section="Cached weights", name=f"{name} ({folder})", value=", ".join(names) or "none")


def _blob_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("blobs/*") if file.is_file())
