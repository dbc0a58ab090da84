"""Reads and writes the checkpoint format: one safetensors file that holds all that its model needs.

Tensors are named `model.…` (the weights), `mean.…` (their EMA, if the run keeps one) and `training.…` (what only a
resume needs: optimizer moments). The file's metadata has one entry, `risctl`: a JSON header with the recipe, the
vocabulary, the data's fingerprint, the protocol, the step, the figures and a digest of each group of tensors. Nothing
is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from risctl import __version__
from risctl.checkpoints.upgrade import upgraded_names, upgraded_recipe
from risctl.errors import CheckpointError, MachineError, RecipeError, UsageError
from risctl.files import replacing
from risctl.language.byte_pairs import vocabulary_from_list
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.base import System

FORMAT_VERSION = 2
MODEL, MEAN, TRAINING = "model.", "mean.", "training."


def save_checkpoint(
    path: Path,
    *,
    system: System,
    recipe: Recipe,
    vocabulary: Vocabulary,
    extra: Mapping[str, Any] | None = None,
    mean: Mapping[str, Tensor] | None = None,
    training: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        path: The file.
        system: The model.
        recipe: The recipe that builds the model.
        vocabulary: The vocabulary that the model was built with.
        extra: Further header entries, JSON values (`dataset`, `protocol`, `step`, `metrics`, …).
        mean: The EMA of weights, by the weights' names.
        training: Tensors that only a resume needs.

    Raises:
        MachineError: The disk refuses.
    """
    groups = ((MODEL, system.state_dict()), (MEAN, mean or {}), (TRAINING, training or {}))
    tensors = _separate({prefix + name: tensor for prefix, group in groups for name, tensor in group.items()})
    header = {
        **(extra or {}),
        "format_version": FORMAT_VERSION,
        "risctl": __version__,
        "recipe": recipe.model_dump(mode="json"),
        "vocabulary": vocabulary.to_list(),
        "sha256": {prefix: _digest(tensors, prefix) for prefix, _ in groups},
    }
    text = json.dumps(header, ensure_ascii=False, allow_nan=False)
    with replacing(path) as beside:
        try:
            save_file(tensors, beside, metadata={"risctl": text})
        except SafetensorError as error:
            raise MachineError(f"cannot write {path}: {error}; check free space and permissions") from error


def read_tensors(path: Path, *, prefixes: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads the header and the tensors of some groups, each compared with its digest.

    Args:
        path: The file.
        prefixes: The groups: `MODEL`, `MEAN`, `TRAINING`.

    Returns:
        The header, and the tensors by name, group prefix included, on the CPU.

    Raises:
        CheckpointError: The file is missing, damaged, not risctl's, or written by a newer version.
    """
    with _opened(path) as file:
        header = _header(file, path)
        tensors = {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefixes)}  # noqa: SIM118
    for prefix in prefixes:
        if _digest(tensors, prefix) != header["sha256"].get(prefix):
            raise CheckpointError(
                f"{path} is damaged: its {prefix}* tensors differ from their digest; take another copy"
            )
    system = str(header["recipe"].get("model", {}).get("system"))
    return header, upgraded_names(tensors, system=system, version=header["format_version"])


def recipe_of(header: Mapping[str, Any], path: Path) -> Recipe:
    """Returns the recipe in a checkpoint's header.

    Raises:
        CheckpointError: This version cannot read it.
    """
    try:
        recipe = upgraded_recipe(header["recipe"], version=header["format_version"])
        return parse_recipe(recipe, source=str(path))
    except RecipeError as error:
        raise CheckpointError(
            f"risctl {__version__} cannot read the recipe in {path} (written by risctl {header['risctl']}): {error}"
        ) from error


def vocabulary_of(header: Mapping[str, Any], path: Path) -> Vocabulary:
    """Returns the vocabulary in a checkpoint's header.

    Raises:
        CheckpointError: The header holds none.
    """
    words = header["vocabulary"]
    if not isinstance(words, list):
        raise CheckpointError(f"{path} is damaged: expected a list of words, got {type(words).__name__}")
    return vocabulary_from_list(words)


def fill(system: torch.nn.Module, weights: Mapping[str, Tensor], *, source: Path) -> None:
    """Copies `weights` into `system`; `source` names them in errors.

    Raises:
        CheckpointError: Names or shapes differ; the first few are named.
    """
    own = system.state_dict()
    problems = [f"{name} is missing" for name in own if name not in weights]
    problems += [f"{name} is not of this model" for name in weights if name not in own]
    problems += [
        f"{name} is {tuple(weights[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{source} does not fit the model of its recipe: {'; '.join(problems[:3])}{more}")
    system.load_state_dict(dict(weights))


def checked_output(out: Path) -> Path:
    """Returns `out`, the file of weights that an import is to write.

    Raises:
        UsageError: It does not end in .safetensors, or is a folder.
    """
    if out.suffix != ".safetensors" or out.is_dir():
        raise UsageError(f"expected an output file that ends in .safetensors, got {out}")
    return out


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise CheckpointError(f"no checkpoint file at {path}")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file: {error}; weights of other programs go through `risctl import`"
        ) from error


def _header(file: Any, path: Path) -> dict[str, Any]:
    text = (file.metadata() or {}).get("risctl")
    if text is None:
        raise CheckpointError(f"{path} was not written by risctl: it has no risctl header; see `risctl import`")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: its header is no JSON ({error})") from error
    version = header.get("format_version") if isinstance(header, dict) else None
    if not isinstance(version, int):
        raise CheckpointError(f"{path} is damaged: its header has no format version")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} was written by risctl {header.get('risctl')} (format {version}); this is risctl {__version__} "
            f"(format {FORMAT_VERSION}): upgrade it to read the file"
        )
    absent = [key for key in ("recipe", "vocabulary", "sha256", "risctl") if key not in header]
    if absent:
        raise CheckpointError(f"{path} is damaged: its header lacks {', '.join(absent)}")
    if not isinstance(header["recipe"], dict) or not isinstance(header["recipe"].get("model"), dict):
        raise CheckpointError(f"{path} is damaged: its header has no recipe")
    return header


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the tensors contiguous on the CPU, no two in one storage: safetensors refuses shared ones."""
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        storage = plain.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != plain.nbytes:
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        separate[name] = plain
    return separate


def _digest(tensors: Mapping[str, Tensor], prefix: str) -> str:
    """Returns the SHA-256 over names, types, shapes and bytes of the tensors whose names begin with `prefix`."""
    digest = hashlib.sha256()
    for name in sorted(name for name in tensors if name.startswith(prefix)):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
