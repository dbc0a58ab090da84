"""Copies files of datasets on the Hugging Face hub through `huggingface_hub`: its resuming, cache and token."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

SCHEME = "hf"


class NotOnHubError(Exception):
    """The hub cannot be reached, or does not have the file."""


def copy_from_hub(address: str, to: Path) -> None:
    """Copies the file of `hf://datasets/OWNER/NAME/FILE` to `to`, wherever in the dataset a file of that name lies.

    Raises `NotOnHubError`, or `OSError` if it cannot be written.
    """
    match = re.fullmatch(r"hf://datasets/([\w.-]+/[\w.-]+)/(.+)", address)
    if match is None:
        raise NotOnHubError(f"expected hf://datasets/OWNER/NAME/FILE, got {address}")
    name = match[2]
    shutil.copyfile(_downloaded(match[1], lambda one: one == name, what=name)[0], to)


def copies_from_hub(repository: str, suffix: str) -> list[Path]:
    """Returns the files of a dataset whose names end with `suffix`, in the hub's cache. Raises `NotOnHubError`."""
    return _downloaded(repository, lambda name: name.endswith(suffix), what=f"files that end with {suffix}")


def _downloaded(repository: str, wanted: Callable[[str], bool], *, what: str) -> list[Path]:
    """Returns the cached files of a dataset whose names (without folders) are wanted; at least one."""
    from huggingface_hub import HfApi, constants, get_session, hf_hub_download

    try:
        # The library itself tries for most of a minute before it says that there is no network.
        get_session().head(constants.ENDPOINT, timeout=10)
        files = HfApi().list_repo_files(repository, repo_type="dataset")
        held = [one for one in files if wanted(PurePosixPath(one).name)]
        if not held:
            raise NotOnHubError(f"the dataset {repository} has no {what}; it has {', '.join(files[:5])}")
        return [Path(hf_hub_download(repository, one, repo_type="dataset")) for one in sorted(held)]
    except NotOnHubError:
        raise
    except Exception as error:
        # Which errors a broken network raises depends on the HTTP client that the library was built on.
        raise NotOnHubError(" ".join(str(error).split())[:200] or type(error).__name__) from error
