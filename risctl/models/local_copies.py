"""Finds, fetches, verifies and removes the weights of named models in the cache of `huggingface_hub`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.checkpoints.hub_checkpoint import HUB, hub_checkpoint, is_own
from risctl.data.download.hub import model_folder
from risctl.errors import CheckpointError, UsageError
from risctl.models.names import ModelName
from risctl.models.open import role_of, told_about_terms, wanted_of
from risctl.models.tuned import tuned_run

_WEIGHTS = (".safetensors", ".bin")
_CHUNK = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalCopy:
    """What this machine has of one folder or hub id.

    Attributes:
        source: The folder or hub id.
        folder: Where it is; None where it is not here.
        size: Bytes of its files; 0 where it is not here.
        in_cache: Whether it is in the hub's cache, from which it can be removed.
    """

    source: str
    folder: Path | None
    size: int
    in_cache: bool

    @property
    def is_here(self) -> bool:
        """Whether its weights are on this machine."""
        return self.folder is not None


def copies_of(name: ModelName) -> list[LocalCopy]:
    """Returns what this machine has of each part of a model, without a network."""
    return [copy_of(source) for source in name.sources]


def copy_of(source: str) -> LocalCopy:
    """Returns what this machine has of one folder or hub id, without a network."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return LocalCopy(source=source, folder=folder, size=_size(folder), in_cache=False)
    found = _cached_folder(source)
    if found is None or not _weights(found):
        return LocalCopy(source=source, folder=None, size=0, in_cache=False)
    return LocalCopy(source=source, folder=found, size=_size(found), in_cache=True)


def pull_own(model: str) -> LocalCopy | None:
    """Downloads what is missing of `hf:OWNER/NAME` if `risctl push` made it; returns None if it is another model.

    Raises:
        MachineError: It cannot be downloaded.
    """
    identity = model.removeprefix(HUB)
    if identity == model or not is_own(identity):
        return None
    hub_checkpoint(model)
    return copy_of(identity)


def pull(name: ModelName) -> list[LocalCopy]:
    """Downloads what is missing of each part of a model, and returns what is here then.

    Raises:
        CheckpointError: There is no such model, or it is of no known family.
        MachineError: It cannot be downloaded; the message says which terms to accept and which folder would do.
    """
    for source in name.sources:
        if tuned_run(source) is not None:
            continue  # a run has all that it needs
        if name.is_global_local:
            wanted = wanted_of("clip")
        else:
            _, kind = role_of(source)
            wanted = wanted_of(kind)
        with told_about_terms(source):
            model_folder(source, wanted, option="--model")
    return copies_of(name)


def verify(copy: LocalCopy) -> list[str]:
    """Compares the files of a model with the hashes by which the hub's cache names them.

    Args:
        copy: A copy that is in the hub's cache.

    Returns:
        The names of the files that are damaged.

    Raises:
        UsageError: The copy is a folder of the user's: there is nothing to compare it with.
    """
    if copy.folder is None or not copy.in_cache:
        raise UsageError(f"{copy.source} is not in the hub's cache, whose files alone have known hashes")
    damaged = []
    for file in sorted(copy.folder.iterdir()):
        expected = file.resolve().name
        if file.is_file() and file.resolve() != file and _hash(file, length=len(expected)) != expected:
            damaged.append(file.name)
    return damaged


def remove(copy: LocalCopy) -> int:
    """Removes a model from the hub's cache, all its revisions, and returns the bytes that were freed.

    Raises:
        UsageError: The copy is a folder of the user's, which is left alone.
    """
    if not copy.in_cache:
        raise UsageError(f"{copy.source} is not in the hub's cache; nothing else is removed")
    repository = copy.source.partition("@")[0]
    revisions = [one.commit_hash for repo in _repositories(repository) for one in repo.revisions]
    if not revisions:
        raise CheckpointError(f"the hub's cache lists no revision of {repository}; remove {copy.folder} by hand")
    strategy = _scan().delete_revisions(*revisions)
    freed = int(strategy.expected_freed_size)
    strategy.execute()
    return freed


def _cached_folder(source: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = source.partition("@")
    found = try_to_load_from_cache(repository, "config.json", revision=revision or None)
    return Path(found).parent if isinstance(found, str) else None


def _scan() -> Any:
    from huggingface_hub import scan_cache_dir

    return scan_cache_dir()


def _repositories(repository: str) -> Iterator[Any]:
    for one in _scan().repos:
        if one.repo_type == "model" and one.repo_id == repository:
            yield one


def _weights(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if file.suffix in _WEIGHTS and file.is_file()]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _hash(file: Path, *, length: int) -> str:
    """Returns the hash that the hub names a file by: SHA-256 of large files, git's of a blob of small ones."""
    if length == 64:
        digest: Any = hashlib.sha256()
    else:
        digest = hashlib.sha1(b"blob %d\0" % file.stat().st_size, usedforsecurity=False)
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return str(digest.hexdigest())
