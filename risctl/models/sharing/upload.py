"""Uploads a shared model to the Hugging Face hub, in one commit; large files first, so that a broken upload goes on.

The address of the hub and the token are those of `huggingface_hub` (`HF_ENDPOINT`, `HF_TOKEN`, `hf auth login`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.data.download.mirrors import sha256_of
from risctl.errors import MachineError, UsageError
from risctl.models.sharing.contents import SharedModel
from risctl.network.http_client import printable

_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MAX_ID = 96
_REFUSED = (401, 403)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """What the hub has under the name of a repository.

    Attributes:
        name: OWNER/NAME.
        exists: Whether there is one.
        private: Whether only its owner can see it.
        hashes: The hashes of its files by name: SHA-256 of large ones, git's of small ones.
    """

    name: str
    exists: bool
    private: bool
    hashes: dict[str, str]

    def replaced(self, model: SharedModel) -> list[str]:
        """Returns the names of the files that it has with other contents."""
        return [
            name
            for name, file in model.files.items()
            if name in self.hashes and self.hashes[name] not in (sha256_of(file), _git_hash(file))
        ]


def check_repository_name(name: str) -> str:
    """Returns the name of a repository of the hub, with or without `hf:` before it.

    Raises:
        UsageError: It is not OWNER/NAME.
    """
    plain = name.removeprefix("hf:")
    if _ID.fullmatch(plain) is None or len(plain) > _MAX_ID or "--" in plain or ".." in plain:
        raise UsageError(f"expected the name of a repository, OWNER/NAME, got {name!r}")
    return plain


def look_at(name: str) -> Repository:
    """Asks the hub what it has under a name.

    Raises:
        MachineError: There is no token, it is refused, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    _check_token()
    with _told(name):
        try:
            info: Any = HfApi().model_info(name, files_metadata=True)
        except RepositoryNotFoundError as error:
            if _status(error) == _REFUSED[0]:
                raise
            return Repository(name=name, exists=False, private=False, hashes={})
    hashes = {}
    for file in info.siblings or ():
        large = getattr(file, "lfs", None)
        hashes[str(file.rfilename)] = str(large["sha256"] if large else file.blob_id)
    return Repository(name=name, exists=True, private=bool(info.private), hashes=hashes)


def upload(model: SharedModel, repository: Repository, *, private: bool, overwrite: bool) -> str:
    """Uploads a model, and returns the address of its page.

    The same call goes on with an upload that broke off: what has arrived of the large files is not sent again.

    Args:
        model: The model.
        repository: What `look_at` found.
        private: Whether only the owner is to see the repository.
        overwrite: Whether files that are there with other contents may be replaced.

    Raises:
        UsageError: A file is there with other contents, or a private upload would go into a public repository.
        MachineError: The token is refused, or the hub cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, constants

    check_upload(model, repository, private=private, overwrite=overwrite)
    api = HfApi()
    with _told(repository.name):
        if not repository.exists:
            api.create_repo(repository.name, private=private or None, repo_type="model", exist_ok=True)
        additions = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=str(file)) for name, file in model.files.items()
        ]
        api.create_commit(repository.name, additions, commit_message="Upload a model trained with risctl")
    return f"{constants.ENDPOINT}/{repository.name}"


def check_upload(model: SharedModel, repository: Repository, *, private: bool, overwrite: bool) -> None:
    """Raises as `upload` does for what can be told before anything is sent."""
    if private and repository.exists and not repository.private:
        raise UsageError(
            f"--private, but {repository.name} is there and public; name another repository, or leave --private out"
        )
    replaced = repository.replaced(model)
    if replaced and not overwrite:
        raise UsageError(
            f"{repository.name} has {', '.join(replaced)} with other contents; --overwrite replaces them (the "
            "repository's history keeps the old ones)"
        )


def _check_token() -> None:
    from huggingface_hub import get_token

    if not get_token():
        raise MachineError(
            "no token of the hub is here; log in with `hf auth login`, or set HF_TOKEN to one that may write"
        )


@contextmanager
def _told(repository: str) -> Iterator[None]:
    """Tells in one line what the hub's library raises within the block."""
    from huggingface_hub import constants

    try:
        yield
    except Exception as error:
        # A failed upload of a large file is wrapped; which errors a broken network raises depends on the HTTP client.
        chain = [error, error.__cause__, error.__context__]
        status = next((code for one in chain if (code := _status(one)) is not None), None)
        if status in _REFUSED:
            raise MachineError(
                f"{constants.ENDPOINT} refuses the token for {repository} ({status}): it needs one of its owner that "
                "may write; log in with `hf auth login`, or set HF_TOKEN"
            ) from error
        cause = next((one for one in (error.__cause__, error) if one is not None and str(one)), error)
        reason = printable(" ".join(str(cause).split())) or type(cause).__name__
        raise MachineError(
            f"the upload to {constants.ENDPOINT}/{repository} broke off: {reason}. The same command goes on with it"
        ) from error


def _status(error: BaseException | None) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _git_hash(file: Path) -> str:
    """Returns the hash by which git names the contents of a small file."""
    data = file.read_bytes() if file.stat().st_size < 1 << 26 else b""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
