"""Models by folder or by Hugging Face hub id: their files, from the disk, the hub's cache or the hub.

The address of the hub, its cache and its token are those of `huggingface_hub` (`HF_ENDPOINT`, `HF_HOME`, `HF_TOKEN`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from risctl.errors import CheckpointError, MachineError

Wanted = Sequence[tuple[str, ...]]
"""What a model needs: of each entry, the first file that there is; "a+b" names two files that go together."""

MODEL: Wanted = (("config.json",), ("model.safetensors", "pytorch_model.bin"))
PROCESSOR: Wanted = (("preprocessor_config.json", "processor_config.json"),)
TOKENIZER: Wanted = (("tokenizer.json", "vocab.json+merges.txt"),)


def model_folder(source: str, wanted: Wanted, *, option: str) -> Path:
    """Return the folder with the files of a model: `source` itself if it is one, else that of the hub's cache.

    What is not in the cache is downloaded. option: what the user names the model by, for messages. Raises
    `CheckpointError` if a folder lacks files or there is no such model, `MachineError` naming the files and where they
    may be put if they are neither here nor to be had.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        missing = [" or ".join(entry) for entry in wanted if not any(_holds(folder, one) for one in entry)]
        if missing:
            raise CheckpointError(f"{folder} lacks {', '.join(missing)}")
        return folder
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source) or source.startswith((".", "/", "~")):
        raise CheckpointError(f"expected a folder or a hub id OWNER/NAME for {option}, found nothing at {source}")
    return _from_hub(source, wanted, option=option)


def _holds(folder: Path, names: str) -> bool:
    return all((folder / name).is_file() for name in names.split("+"))


def _from_hub(source: str, wanted: Wanted, *, option: str) -> Path:
    import httpx
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    folder: Path | None = None
    for entry in wanted:
        found = False
        for names in entry:
            try:
                for name in names.split("+"):
                    folder = Path(hf_hub_download(source, name)).parent
                found = True
                break
            except LocalEntryNotFoundError as error:
                # Neither in the cache nor to be reached; of alternatives, a later one may be in the cache.
                if names == entry[-1]:
                    raise MachineError(_absent(source, wanted, option, constants.HF_HUB_CACHE)) from error
            except EntryNotFoundError:
                continue
            except GatedRepoError as error:
                raise MachineError(
                    f"{source} is given to those who accepted its terms: accept them on its page, then set HF_TOKEN"
                ) from error
            except RepositoryNotFoundError as error:
                raise CheckpointError(f"{constants.ENDPOINT} has no model {source}; check {option}") from error
            except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
                raise MachineError(_absent(source, wanted, option, constants.HF_HUB_CACHE)) from error
        if not found:
            raise CheckpointError(f"{source} on {constants.ENDPOINT} lacks {' or '.join(entry)}")
    if folder is None:
        raise CheckpointError(f"nothing was asked of {source}")
    return folder


def _absent(source: str, wanted: Wanted, option: str, cache: str) -> str:
    files = ", ".join(" or ".join(one.replace("+", " and ") for one in entry) for entry in wanted)
    return (
        f"the model {source} is not on this machine and cannot be downloaded. It needs {files}: put them into a folder "
        f"and give it with {option} FOLDER, or fetch them where there is a network (hf download {source}) and copy "
        f"{cache}/models--{source.replace('/', '--')} here"
    )
