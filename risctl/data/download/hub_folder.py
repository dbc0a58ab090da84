"""Brings a dataset of the Hugging Face hub under the data root: its files as they lie there, archives unpacked.

The hub's library resumes what broke off and checks lengths and digests. What was fetched is recorded in
`downloads/NAME.hub.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import Any

from risctl.data.download.archives import safe_name, unpack
from risctl.data.download.hub import NotOnHubError, files_from_hub
from risctl.data.download.mirrors import sha256_of
from risctl.data.download.tar_archives import SUFFIXES, holds_its_own_folder, unpack_tar
from risctl.errors import DataError, MachineError
from risctl.files import link_or_copy, replacing

Stage = Callable[[str], AbstractContextManager[Any]]


def fetch_hub_folder(repository: str, root: Path, *, name: str, wanted: tuple[str, ...], stage: Stage) -> Path:
    """Returns the folder of a dataset's files under the data root, fetched unless they were before.

    Args:
        repository: OWNER/NAME on the hub.
        root: The data root.
        name: The folder's name there.
        wanted: Beginnings of the paths that are fetched; empty for all files.
        stage: Opens a stage of the work.

    Raises:
        DataError: An archive is damaged, or not one that may be unpacked.
        MachineError: The hub cannot be reached, or gives the dataset to those only who accepted its terms.
    """
    folder, record = root / name, root / "downloads" / f"{name}.hub.json"
    if record.is_file() and folder.is_dir():
        return folder
    try:
        with stage(f"downloading {repository} from the hub"):
            files = files_from_hub(repository, lambda path: not wanted or path.startswith(wanted))
    except NotOnHubError as error:
        gated = "gated" in str(error).lower() or "401" in str(error) or "403" in str(error)
        advice = (
            f"accept its terms at huggingface.co/datasets/{repository} and log in with `hf auth login`"
            if gated
            else "or fetch it where there is a network"
        )
        raise MachineError(
            f"the dataset {repository} cannot be had from the hub: {error}; {advice}, then name its folder with --from"
        ) from error
    entries = []
    for path, cached in files:
        place = folder / safe_name(path, Path(repository))
        with stage(f"placing {path}"):
            _place(cached, place)
        entries.append({"file": path, "bytes": cached.stat().st_size, "sha256": sha256_of(cached)})
    record.parent.mkdir(parents=True, exist_ok=True)
    with replacing(record) as beside:
        beside.write_text(json.dumps({"dataset": repository, "files": entries}), encoding="utf-8")
    return folder


def _place(cached: Path, place: Path) -> None:
    """Puts a file, or what an archive holds, where it belongs; an archive without a folder of its name gets one."""
    place.parent.mkdir(parents=True, exist_ok=True)
    suffix = next((one for one in (*SUFFIXES, ".zip") if place.name.lower().endswith(one)), None)
    if suffix is None:
        try:
            link_or_copy(cached.resolve(), place)
        except OSError as error:
            raise DataError(f"cannot write {place}: {error.strerror or error}") from error
        return
    stem = place.name[: -len(suffix)]
    if suffix == ".zip":
        import zipfile

        try:
            with zipfile.ZipFile(cached) as archive:
                names = [one for one in archive.namelist() if not one.endswith("/")]
        except (OSError, zipfile.BadZipFile) as error:
            raise DataError(f"{place.name} is no complete zip ({error!s:.100}); download it again") from error
        own = all(PurePosixPath(one).parts[:1] == (stem,) for one in names)
        unpack(cached, place.parent if own else place.parent / stem)
    else:
        unpack_tar(cached, place.parent if holds_its_own_folder(cached, stem) else place.parent / stem)
