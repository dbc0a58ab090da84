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
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from risctl import __version__
from risctl.checkpoints.header import FORMAT_VERSION, parse_header
from risctl.checkpoints.upgrade import upgraded_names, upgraded_recipe
from risctl.errors import CheckpointError, MachineError, RecipeError, UsageError
from risctl.files import replacing
from risctl.language.byte_pairs import vocabulary_from_list
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.weights.budget import check_regular
from risctl.weights.skeleton import check_fit
from risctl.weights.tensor_checks import Layout, check_finite, layouts_of

MODEL, MEAN, TRAINING = "model.", "mean.", "training."
Value = TypeVar("Value")

_DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


def save_checkpoint(
    path: Path,
    *,
    system: System,
    recipe: Recipe,
    vocabulary: Vocabulary,
    extra: Mapping[str, Any] | None = None,
    mean: Mapping[str, Tensor] | None = None,
    training: Mapping[str, Tensor] | None = None,
    old: Path | None = None,
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
        old: What the checkpoint that is replaced is called afterwards; None: it is removed.

    Raises:
        MachineError: The disk refuses.
    """
    tensors = grouped(system.state_dict(), mean=mean, training=training)
    own = {"recipe": recipe.model_dump(mode="json"), "vocabulary": vocabulary.to_list()}
    write_tensors(path, tensors, header={**(extra or {}), **own}, old=old)


def grouped(
    weights: Mapping[str, Tensor], *, mean: Mapping[str, Tensor] | None, training: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint by the names that they have in its file."""
    groups = ((MODEL, weights), (MEAN, mean or {}), (TRAINING, training or {}))
    return {prefix + name: tensor for prefix, group in groups for name, tensor in group.items()}


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], *, header: Mapping[str, Any], old: Path | None = None
) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        path: The file.
        tensors: The tensors, as `grouped` names them.
        header: The header without what the format adds: `recipe`, `vocabulary` and further entries.
        old: What the checkpoint that is replaced is called afterwards; None: it is removed.

    Raises:
        MachineError: The disk refuses.
    """
    tensors = _separate(tensors)
    whole = {
        **header,
        "format_version": FORMAT_VERSION,
        "risctl": __version__,
        "sha256": {prefix: _digest(tensors, prefix) for prefix in (MODEL, MEAN, TRAINING)},
    }
    text = json.dumps(whole, ensure_ascii=False, allow_nan=False)
    with replacing(path, old=old) as beside:
        try:
            save_file(tensors, beside, metadata={"risctl": text})
        except SafetensorError as error:
            raise MachineError(f"cannot write {path}: {error}; check free space and permissions") from error


class CheckpointFile:
    """An open checkpoint: its header is checked, its tensors are not read yet.

    Attributes:
        path: The file.
        header: The header.
    """

    def __init__(self, file: Any, path: Path) -> None:
        """Reads the header of a file that `open_checkpoint` opened."""
        self.path = path
        self.header = parse_header((file.metadata() or {}).get("risctl"), path)
        self._file = file
        self._system = str(self.header["recipe"]["model"].get("system"))
        for name in file.keys():  # noqa: SIM118  no mapping
            if not name.startswith((MODEL, MEAN, TRAINING)):
                raise CheckpointError(f"{path} is damaged: its tensor {name!r:.80} is of no group, and has no digest")

    def layouts(self, prefixes: tuple[str, ...]) -> dict[str, Layout]:
        """Returns what the file says of the tensors of some groups, by their names of today."""
        return self._renamed({name: self._layout(name) for name in self._names(prefixes)})

    def read(self, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
        """Returns the tensors of some groups by their names of today, on the CPU.

        Raises:
            CheckpointError: They differ from their digest, or are no finite numbers.
        """
        names = self._names(prefixes)
        for name in names:
            if self._layout(name).dtype is None:
                kind = self._file.get_slice(name).get_dtype()
                raise CheckpointError(f"{self.path} is refused: {name} holds numbers of type {kind}, no model's")
        tensors = {name: self._file.get_tensor(name) for name in names}
        for prefix in prefixes:
            if _digest(tensors, prefix) != self.header["sha256"].get(prefix):
                raise CheckpointError(
                    f"{self.path} is damaged: its {prefix}* tensors differ from their digest; take another copy"
                )
        # The optimizer's moments may overflow; its next step tells.
        weights = ((name, tensor) for name, tensor in tensors.items() if name.startswith((MODEL, MEAN)))
        check_finite(weights, source=self.path)
        return self._renamed(tensors)

    def _names(self, prefixes: tuple[str, ...]) -> list[str]:
        return [name for name in self._file.keys() if name.startswith(prefixes)]  # noqa: SIM118  no mapping

    def _layout(self, name: str) -> Layout:
        tensor = self._file.get_slice(name)
        return Layout(tuple(tensor.get_shape()), _DTYPES.get(tensor.get_dtype()))

    def _renamed(self, tensors: Mapping[str, Value]) -> dict[str, Value]:
        renamed = upgraded_names(tensors, system=self._system, version=self.header["format_version"])
        if len(renamed) != len(tensors):
            raise CheckpointError(f"{self.path} is damaged: it holds tensors under their old and new names")
        return renamed


@contextmanager
def open_checkpoint(path: Path) -> Iterator[CheckpointFile]:
    """Opens a checkpoint and reads its header.

    Raises:
        CheckpointError: The file is missing, damaged, not risctl's, or written by a newer version.
    """
    check_regular(path, what="a checkpoint file")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield CheckpointFile(file, path)
    except (SafetensorError, OSError, UnicodeError) as error:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file: {error}; weights of other programs go through `risctl import`"
        ) from error


def read_tensors(path: Path, *, prefixes: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Reads the header and the tensors of some groups, each compared with its digest.

    Args:
        path: The file.
        prefixes: The groups: `MODEL`, `MEAN`, `TRAINING`.

    Returns:
        The header, and the tensors by name, group prefix included, on the CPU.

    Raises:
        CheckpointError: The file is missing, damaged, not risctl's, or written by a newer version; or its weights are
            no finite numbers.
    """
    with open_checkpoint(path) as file:
        return file.header, file.read(prefixes)


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
    try:
        return vocabulary_from_list(header["vocabulary"])
    except CheckpointError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def fill(system: torch.nn.Module, weights: Mapping[str, Tensor], *, source: Path) -> None:
    """Copies `weights` into `system`; `source` names them in errors.

    Raises:
        CheckpointError: Names, shapes or kinds of numbers differ; the first few are named.
    """
    check_fit(system.state_dict(), layouts_of(weights), source=source)
    system.load_state_dict(dict(weights))


def checked_output(out: Path) -> Path:
    """Returns `out`, the file of weights that an import is to write.

    Raises:
        UsageError: It does not end in .safetensors, or is a folder.
    """
    if out.suffix != ".safetensors" or out.is_dir():
        raise UsageError(f"expected an output file that ends in .safetensors, got {out}")
    return out


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
