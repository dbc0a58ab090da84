"""Files of datasets on the Hugging Face hub, through `huggingface_hub`: its resuming, its cache, its token."""

from __future__ import annotations

import re
import shutil
from pathlib import Path, PurePosixPath

SCHEME = "hf"


class NotOnHubError(Exception):
    """The hub cannot be reached, or does not have the file."""


def copy_from_hub(address: str, to: Path) -> None:
    """Copy the file of `hf://datasets/OWNER/NAME/FILE` to `to`, wherever in the dataset a file of that name lies.

    Raises `NotOnHubError`, or `OSError` if it cannot be written.
    """
    match = re.fullmatch(r"hf://datasets/([\w.-]+/[\w.-]+)/(.+)", address)
    if match is None:
        raise NotOnHubError(f"expected hf://datasets/OWNER/NAME/FILE, got {address}")
    shutil.copyfile(_downloaded(match[1], match[2]), to)


def _downloaded(repository: str, name: str) -> str:
    from huggingface_hub import HfApi, constants, get_session, hf_hub_download

    try:
        # The library itself tries for most of a minute before it says that there is no network.
        get_session().head(constants.ENDPOINT, timeout=10)
        files = HfApi().list_repo_files(repository, repo_type="dataset")
        held = [one for one in files if PurePosixPath(one).name == name]
        if not held:
            raise NotOnHubError(f"the dataset {repository} has no {name}; it has {', '.join(files[:5])}")
        return hf_hub_download(repository, min(held, key=len), repo_type="dataset")
    except NotOnHubError:
        raise
    except Exception as error:
        # Which errors a broken network raises depends on the HTTP client that the library was built on.
        raise NotOnHubError(" ".join(str(error).split())[:200] or type(error).__name__) from error
