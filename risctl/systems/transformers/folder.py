"""Reads and writes folders in Hugging Face's layout: settings, models, and what a run fine-tuned."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from risctl.core.encoders.model_config import read_model_config, unreadable
from risctl.data.download.hub import MODEL, PROCESSOR, Wanted, model_folder
from risctl.data.download.pretrained import Pretrained, quietly
from risctl.errors import CheckpointError
from risctl.json_text import parse_json
from risctl.language.pretrained_tokens import PretrainedTokens
from risctl.language.vocabulary import Vocabulary
from risctl.systems.transformers.families import entry_of

OPTION = "model.name=hf:"
_TOKENIZER = ("tokenizer.json", "vocab.json+merges.txt", "vocab.txt")
WANTED: Wanted = (*MODEL, *PROCESSOR, _TOKENIZER)
_SETTINGS = ("preprocessor_config.json", "processor_config.json", "tokenizer_config.json", "special_tokens_map.json")


def read_settings(source: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads what a model is rebuilt from without its folder.

    Args:
        source: A folder in Hugging Face's layout, or a hub id.

    Returns:
        The configuration as JSON values, and the settings of its processor by file name.

    Raises:
        CheckpointError: There is no such model, it cannot be read, or it cannot be fine-tuned.
        MachineError: It is neither here nor to be had; the message says which terms to accept and which folder would
            do.
    """
    import transformers

    folder, config = read_model_config(source, option=OPTION)
    reads = entry_of(str(config.get("model_type")), source=source).reads
    if reads is not None:
        with quietly():
            settings = getattr(transformers, reads).from_pretrained(str(folder), local_files_only=True)
        config = json.loads(settings.to_json_string(use_diff=True))
    folder = model_folder(source, (*PROCESSOR, _TOKENIZER), option=OPTION)
    files = {}
    for name in _SETTINGS:
        if (folder / name).is_file():
            try:
                files[name] = parse_json((folder / name).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise unreadable(folder / name, error, what="JSON") from error
    return config, files


def fetch(source: str) -> None:
    """Downloads what is missing of a model on the hub, all of it, so that a message names all that it needs.

    Raises:
        CheckpointError: There is no such model.
        MachineError: It is not to be had; the message says which terms to accept and which folder would do.
    """
    if not Path(source).expanduser().is_dir():
        model_folder(source, WANTED, option=OPTION)


def open_model(source: str) -> Any:
    """Opens the model of a folder or hub id, with its weights.

    Raises:
        CheckpointError: It cannot be read, or cannot be fine-tuned.
        MachineError: It is neither here nor to be had.
    """
    import transformers

    found = Pretrained(source, what="a model to fine-tune", kinds=None, wanted=WANTED, option=OPTION)
    return found.model(getattr(transformers, entry_of(found.kind, source=source).opened_by))


def build_model(config: Mapping[str, Any], *, source: str) -> Any:
    """Builds a model with random weights from its configuration.

    Raises:
        CheckpointError: The configuration describes none that can be fine-tuned.
    """
    import transformers

    of = getattr(transformers, entry_of(str(config.get("model_type")), source=source).opened_by)
    try:
        settings = transformers.AutoConfig.for_model(**config)
        with quietly():
            if hasattr(of, "from_config"):
                return of.from_config(settings, trust_remote_code=False)
            return of(settings)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(Path(source), error, what="a model to fine-tune") from error


@contextmanager
def processor_folder(
    config: Mapping[str, Any], files: Mapping[str, Any], vocabulary: Vocabulary | None
) -> Iterator[Path]:
    """Writes what a processor is opened from into a folder, which is there within the block."""
    with TemporaryDirectory(prefix="risctl-") as name:
        write_settings(Path(name), config, files, vocabulary)
        yield Path(name)


def open_part(folder: Path, of: Any) -> Any:
    """Opens a processor, image processor or tokenizer of a folder, by an Auto class of transformers.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        with quietly():
            return of.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the library checks little of what it reads
        raise unreadable(folder, error, what="a processor") from error


def write_settings(
    folder: Path, config: Mapping[str, Any], files: Mapping[str, Any], vocabulary: Vocabulary | None
) -> None:
    """Writes a model's configuration, its processor's settings and its tokenizer into a folder.

    Raises:
        CheckpointError: A file has a name that is none of a processor's settings.
    """
    for name, values in {**files, "config.json": dict(config)}.items():
        if name not in (*_SETTINGS, "config.json"):
            raise CheckpointError(f"expected files of settings ({', '.join(_SETTINGS)}), got {name!r:.60}")
        (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    if isinstance(vocabulary, PretrainedTokens):
        (folder / "tokenizer.json").write_text(vocabulary.definition, encoding="utf-8")
