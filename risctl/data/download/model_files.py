"""Checks a model's folder in Hugging Face's layout before transformers reads it, which bounds nothing.

A few hundred bytes of a configuration can ask for gigabytes of weights, and an archive of weights can unpack to a
thousand times its size.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

from torch import nn

from risctl.errors import CheckpointError
from risctl.json_text import MAX_DEPTH, parse_json
from risctl.weights.budget import Budget, check_regular
from risctl.weights.pytorch_file import check_archive
from risctl.weights.skeleton import build_skeleton, check_buffers

SETTINGS_BYTES = 8 * 2**20
"""Bytes of a file of settings (config.json, tokenizer_config.json, …), at most; published ones have some thousands."""

TABLE_BYTES = 128 * 2**20
"""Bytes of a table of tokens or of the names of weights, at most; the largest published ones have some 35 million."""

_TABLES = ("tokenizer.json", "vocab.json", "vocab.txt", "merges.txt", "added_tokens.json")
_TABLE_ENDS = (".index.json", ".model")
_SETTINGS = (".json", ".jinja", ".txt")
_WEIGHTS = (".safetensors", ".bin")
_HEADER_BYTES = 100_000_000  # safetensors' own bound


def check_files(folder: Path) -> None:
    """Checks the files of a model, as far as their names are those of the layout.

    Raises:
        CheckpointError: One is no regular file, is too large, is JSON that is nested too deeply, or is an archive that
            unpacks to more than its size allows.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix in (*_SETTINGS, *_WEIGHTS) or path.name.endswith(_TABLE_ENDS):
            if path.is_dir():
                continue
            check_regular(path, what=f"the {path.name} of a model")
            if path.suffix in _WEIGHTS:
                _check_weights(path)
            else:
                _check_text(path)


def check_model_fits(folder: Path, build: Callable[[], nn.Module]) -> None:
    """Compares the size of a model with that of its weights, before it takes memory.

    Args:
        folder: The folder of the weights.
        build: Builds the model.

    Raises:
        CheckpointError: The configuration asks for far more than the weights can fill, or for a model that cannot be
            built.
    """
    files = [path for path in folder.iterdir() if path.suffix in _WEIGHTS and path.is_file()]
    size = sum(path.stat().st_size for path in files)
    skeleton = build_skeleton(build, tensors=sum(map(_tensors, files)), source=folder)
    budget = Budget(folder, size=size)
    for tensor in skeleton.state_dict().values():
        budget.spend(4 * tensor.numel())
    check_buffers(skeleton, source=folder)


def _check_text(path: Path) -> None:
    table = path.name in _TABLES or path.name.endswith(_TABLE_ENDS)
    limit, size = TABLE_BYTES if table else SETTINGS_BYTES, path.stat().st_size
    if size > limit:
        raise CheckpointError(
            f"{path} is refused: it has {size:,} bytes; such a file has at most {limit:,}. Get it again from "
            "its publisher"
        )
    if path.suffix != ".json" or table:
        return
    try:
        parse_json(path.read_bytes(), max_depth=MAX_DEPTH, not_finite=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON: {error}; get it again from its publisher") from error


def _check_weights(path: Path) -> None:
    if path.suffix == ".bin" and zipfile.is_zipfile(path):
        check_archive(path)


def _tensors(path: Path) -> int:
    """Returns how many tensors a file of weights has at most."""
    if path.suffix == ".safetensors":
        with path.open("rb") as file:
            [length] = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))
            return file.read(min(length, _HEADER_BYTES)).count(b'"shape"')
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return len(archive.infolist())
    # The form from before PyTorch 1.6 does not say; the smallest tensor and its name take some hundred bytes.
    return min(20_000, path.stat().st_size // 100)
