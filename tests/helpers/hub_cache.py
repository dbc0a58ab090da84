"""The cache of huggingface_hub with a model in it, as the library lays it out."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest


def use_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `folder` the cache of this process, and forbid the network."""
    import huggingface_hub.constants
    import huggingface_hub.utils._cache_manager as manager

    for module in (huggingface_hub.constants, manager):
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def put(cache: Path, repository: str, model: Path, *, commit: str = "0" * 40) -> Path:
    """Put the files of a model's folder into the cache as `repository`; return the snapshot."""
    root = cache / f"models--{repository.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    for folder in (root / "blobs", root / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(commit, encoding="utf-8")
    for file in model.iterdir():
        data = file.read_bytes()
        # Large files are named by SHA-256, small ones as git names blobs.
        large = file.suffix == ".safetensors"
        name = hashlib.sha256(data) if large else hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)
        blob = root / "blobs" / name.hexdigest()
        blob.write_bytes(data)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot
