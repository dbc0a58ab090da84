"""Gets files from the Hugging Face hub: those of a model, by folder or hub id, and those of datasets.

The address of the hub, its cache and its token are those of `huggingface_hub` (`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from risctl.data.download.model_files import check_files
from risctl.errors import CheckpointError, MachineError, RisctlError
from risctl.json_text import parse_json
from risctl.network.http_client import printable
from risctl.network.hub import HubBoundError, HubSession, within_bounds

SCHEME = "hf"
"""The scheme of the addresses of files on the hub."""

Wanted = Sequence[tuple[str, ...]]
"""What a model needs: of each entry, the first file that there is; "a+b" names two files that go together."""

_SHARDS = ".index.json"
"""The end of the name of a file that lists the parts of a large model's weights."""

MODEL: Wanted = (("config.json",), ("model.safetensors", f"model.safetensors{_SHARDS}", "pytorch_model.bin"))
PROCESSOR: Wanted = (("preprocessor_config.json", "processor_config.json"),)
TOKENIZER: Wanted = (("tokenizer.json", "vocab.json+merges.txt"),)


def model_folder(source: str, wanted: Wanted, *, option: str) -> Path:
    """Returns the folder with the files of a model, checked; what is not in the hub's cache is downloaded.

    Args:
        source: A folder, or a hub id OWNER/NAME or OWNER/NAME@REVISION.
        wanted: The files that it needs.
        option: The option that names the model, for messages.

    Raises:
        CheckpointError: The folder lacks files or has some that no model has, or there is no such model.
        MachineError: The files are neither here nor to be had; the message names them and where to put them.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        missing = [
            " or ".join(map(_described, entry)) for entry in wanted if not any(_holds(folder, name) for name in entry)
        ]
        if missing:
            raise CheckpointError(f"{folder} lacks {', '.join(missing)}")
        check_files(folder)
        return folder
    if not is_hub_id(source):
        raise CheckpointError(f"expected a folder or a hub id OWNER/NAME for {option}, found nothing at {source}")
    folder = _from_hub(source, wanted, option=option)
    check_files(folder)
    return folder


def local_folder(source: str, wanted: Wanted) -> Path | None:
    """Returns the folder of the hub's cache that has all that is wanted of a hub id; None if something is missing."""
    return _cached(source, wanted)


def is_hub_id(source: str) -> bool:
    """Returns whether `source` is written as OWNER/NAME or OWNER/NAME@REVISION."""
    return re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", source) is not None and not source.startswith((".", "/", "~"))


def _parts_of(source: str) -> tuple[str, str | None]:
    """Returns OWNER/NAME and the revision of a hub id, None for its newest."""
    repository, _, revision = source.partition("@")
    return repository, revision or None


def _holds(folder: Path, names: str) -> bool:
    for name in names.split("+"):
        if not (folder / name).is_file():
            return False
        if name.endswith(_SHARDS) and not all((folder / part).is_file() for part in _parts(folder / name)):
            return False
    return True


def _parts(index: Path) -> list[str]:
    """Returns the names of the files that an index lists. Raises `CheckpointError` if it is none."""
    try:
        names = sorted(set(parse_json(index.read_text(encoding="utf-8"))["weight_map"].values()))
        plain = all(Path(name).name == name for name in names)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} cannot be read as the list of a model's parts") from error
    if not names or not plain:
        raise CheckpointError(f"{index} names no parts of the model beside it")
    return names


def _from_hub(source: str, wanted: Wanted, *, option: str) -> Path:
    cached = _cached(source, wanted)
    if cached is not None:
        return cached
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    repository, revision = _parts_of(source)

    def every_file(hub: HubSession) -> Path | None:
        folder: Path | None = None
        _reach()
        for entry in wanted:
            for names in entry:
                try:
                    for name in names.split("+"):
                        file = hub.file(repository, name, revision=revision)
                        folder = file.parent
                        for part in _parts(file) if name.endswith(_SHARDS) else ():
                            hub.file(repository, part, revision=revision)
                    break
                except LocalEntryNotFoundError:
                    raise
                except EntryNotFoundError as error:
                    if names == entry[-1]:
                        lacks = " or ".join(map(_described, entry))
                        raise CheckpointError(f"{source} on {constants.ENDPOINT} lacks {lacks}") from error
        return folder

    cache = constants.HF_HUB_CACHE
    try:
        folder = within_bounds(every_file)
    except GatedRepoError as error:
        page = f"{constants.ENDPOINT}/{repository}"
        raise MachineError(f"{_refused(source, page, error)}. {_folder_does(wanted, option)}") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{constants.ENDPOINT} has no model {source}, or keeps it private: check {option}, or log in with `hf auth "
            "login`"
        ) from error
    except RisctlError:
        raise
    except HubBoundError as error:
        raise MachineError(f"{constants.ENDPOINT}: {error}. {_absent(source, wanted, option, cache)}") from error
    except Exception as error:
        # Which errors a broken network raises depends on the HTTP client that the library was built on.
        raise MachineError(_absent(source, wanted, option, cache)) from error
    if folder is None:
        raise CheckpointError(f"no file of {source} was wanted")
    return folder


def _refused(source: str, page: str, error: Any) -> str:
    """Returns what to do about a model that the hub gives to some only."""
    if error.response.status_code != 403:
        return (
            f"{source} is given to those who accepted its terms: accept them on {page}, then log in with `hf auth "
            "login` (or set HF_TOKEN)"
        )
    said = printable(error.response.headers.get("X-Error-Message") or "")
    return (
        f"{source} is not given to the account that is logged in: accept its terms on {page} and wait for its "
        "publisher where they must approve, or log in with another account by `hf auth login`"
        + (f" (the hub says: {said.rstrip('.')})" if said else "")
    )


def _folder_does(wanted: Wanted, option: str) -> str:
    return f"A folder with {_files(wanted)} does as well: {_given(option)}"


def _reach() -> None:
    """Asks the hub for an answer; the library itself tries for most of a minute before it reports no network."""
    from huggingface_hub import constants, get_session

    get_session().head(constants.ENDPOINT, timeout=10)


def _cached(source: str, wanted: Wanted) -> Path | None:
    """Returns the folder of the hub's cache that has all that is wanted, None if something is missing."""
    from huggingface_hub import try_to_load_from_cache

    repository, revision = _parts_of(source)
    first = try_to_load_from_cache(repository, wanted[0][0], revision=revision) if wanted else None
    folder = Path(first).parent if isinstance(first, str) else None
    if folder is None or not all(any(_holds(folder, name) for name in entry) for entry in wanted):
        return None
    return folder


def _described(names: str) -> str:
    parts = [f"{name} with its parts" if name.endswith(_SHARDS) else name for name in names.split("+")]
    return " and ".join(parts)


def _files(wanted: Wanted) -> str:
    return ", ".join(" or ".join(_described(name) for name in entry) for entry in wanted)


def _given(option: str) -> str:
    return f"{option}FOLDER" if option.endswith(":") else f"{option} FOLDER"


def _absent(source: str, wanted: Wanted, option: str, cache: str) -> str:
    repository, revision = _parts_of(source)
    fetch = repository if revision is None else f"{repository} --revision {revision}"
    # Where only the configuration was asked for, it would have told what else is needed.
    rest = ", its weights, and the files of its processor and tokenizer" if wanted == (("config.json",),) else ""
    return (
        f"the model {source} is not on this machine and cannot be downloaded. It needs {_files(wanted)}{rest}: put "
        f"them into a folder and give it with {_given(option)}, or fetch them where there is a network (hf download "
        f"{fetch}) and copy {cache}/models--{repository.replace('/', '--')} here"
    )


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


def files_from_hub(repository: str, wanted: Callable[[str], bool]) -> list[tuple[str, Path]]:
    """Returns the files of a dataset whose paths are wanted: path there, file in the hub's cache.

    Raises `NotOnHubError`.
    """
    return _downloaded_files(repository, wanted, what="files that are wanted")


def _downloaded(repository: str, wanted: Callable[[str], bool], *, what: str) -> list[Path]:
    """Returns the cached files of a dataset whose names (without folders) are wanted; at least one."""
    found = _downloaded_files(repository, lambda path: wanted(PurePosixPath(path).name), what=what)
    return [file for _, file in found]


def _downloaded_files(repository: str, wanted: Callable[[str], bool], *, what: str) -> list[tuple[str, Path]]:
    def every_file(hub: HubSession) -> list[tuple[str, Path]]:
        _reach()
        files = hub.dataset_files(repository)
        held = [file for file in files if wanted(file)]
        if not held:
            raise NotOnHubError(f"the dataset {repository} has no {what}; it has {', '.join(files[:5])}")
        return [(name, hub.file(repository, name, repo_type="dataset")) for name in sorted(held)]

    try:
        return within_bounds(every_file)
    except (NotOnHubError, RisctlError):
        raise
    except Exception as error:
        # Which errors a broken network raises depends on the HTTP client that the library was built on.
        raise NotOnHubError(printable(" ".join(str(error).split())) or type(error).__name__) from error
