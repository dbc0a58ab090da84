"""Makes the files of a shared model from a run: the weights alone, the recipe, the words, the card.

Nothing is copied from the run folder. Its optimizer state, logs and command lines stay where they are, and of paths in
the recipe the file names alone are kept: they say how a person's machine is laid out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.checkpoints.hub_checkpoint import CHECKPOINT, CONFIG, KIND
from risctl.checkpoints.loaded_model import Builder, LoadedModel, load_checkpoint
from risctl.data.download.mirrors import sha256_of
from risctl.errors import DataError, UsageError
from risctl.json_text import parse_object
from risctl.models.sharing.card import model_card
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe

RECIPE, WORDS, CARD = "recipe.yaml", "words.json", "README.md"

_KEPT = ("dataset", "protocol", "step", "epoch", "metrics", "best", "without_vector", "imported_from")
"""Entries of a checkpoint's header that are shared; none of them holds a path."""

_PATHS = frozenset({"store", "also", "features", "polygons", "boxes_only", "checkpoint", "weights", "vectors"})
"""Keys of a recipe whose values may be paths."""

_MAX_REPORT = 1 << 26
_HUB = "hf:"


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedModel:
    """The files of a shared model, made and ready to be uploaded.

    Attributes:
        source: The checkpoint that they were made of.
        files: The files by the name that each gets in the repository.
    """

    source: Path
    files: Mapping[str, Path]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.stat().st_size for file in self.files.values())


def make_shared_model(
    model: Path,
    folder: Path,
    *,
    repository: str,
    licence: str | None = None,
    reports: Sequence[Path] = (),
    build: Builder | None = None,
) -> SharedModel:
    """Makes the files of a shared model.

    Args:
        model: A run folder or a checkpoint file.
        folder: Where the files are made; it must be empty.
        repository: OWNER/NAME, for the card.
        licence: The licence of the weights, as the hub abbreviates it; None: the card says that none is stated.
        reports: Reports of `risctl eval` of this checkpoint (.json), whose figures and intervals the card shows.
        build: Builds the model in place of `build_system`.

    Raises:
        CheckpointError: There is no usable checkpoint.
        DataError: A report cannot be read.
        UsageError: A report is of other weights.
    """
    loaded = load_checkpoint(model, build=build)
    evaluations = _reports(reports, loaded)
    recipe = without_folders(loaded.recipe)
    extra = {name: loaded.header[name] for name in _KEPT if name in loaded.header}
    weights = folder / CHECKPOINT
    save_checkpoint(weights, system=loaded.system, recipe=recipe, vocabulary=loaded.vocabulary, extra=extra)
    load_checkpoint(weights, build=build)  # what is shared can be opened
    config = {"model_type": KIND, "system": recipe.model.system, "format_version": loaded.header["format_version"]}
    card = model_card(
        recipe=recipe,
        header={**extra, "risctl": loaded.header["risctl"]},
        repository=repository,
        licence=licence,
        parameters=sum(parameter.numel() for parameter in loaded.system.parameters()),
        words=len(loaded.vocabulary),
        reports=evaluations,
        weights=sha256_of(weights),
    )
    texts = {
        CONFIG: json.dumps(config, indent=1) + "\n",
        RECIPE: recipe.to_yaml(),
        WORDS: json.dumps(loaded.vocabulary.to_list(), ensure_ascii=False, indent=0) + "\n",
        CARD: card,
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return SharedModel(source=loaded.path, files={name: folder / name for name in (CARD, CHECKPOINT, *texts)})


def without_folders(recipe: Recipe) -> Recipe:
    """Returns the recipe with the file names alone of the paths in it."""
    return parse_recipe(_names_only(recipe.model_dump(mode="json"), key=""), source="the recipe of the checkpoint")


def _names_only(value: Any, *, key: str) -> Any:
    if isinstance(value, Mapping):
        return {name: _names_only(one, key=name) for name, one in value.items()}
    if isinstance(value, list):
        return [_names_only(one, key=key) for one in value]
    if not isinstance(value, str):
        return value
    prefix = _HUB if value.startswith(_HUB) else ""
    path = value.removeprefix(prefix)
    absolute = PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute() or path.startswith("~")
    if absolute or (key in _PATHS and not prefix and "/" in path):
        return prefix + (PureWindowsPath(path).name or path)
    return value


def _reports(paths: Sequence[Path], loaded: LoadedModel) -> list[dict[str, Any]]:
    """Returns reports of `risctl eval`, each compared with the checkpoint that is shared."""
    reports = []
    weights = sha256_of(loaded.path) if paths else ""
    for path in paths:
        try:
            with path.open("rb") as file:
                report = parse_object(file.read(_MAX_REPORT + 1), max_bytes=_MAX_REPORT)
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path} cannot be read as a report: {error}; `risctl eval … --report x.json` makes one"
            ) from error
        if not isinstance(report.get("protocols"), dict) or not isinstance(report.get("dataset"), dict):
            raise DataError(f"{path} is no report of an evaluation; `risctl eval … --report x.json` makes one")
        if report.get("checkpoint") != weights:
            raise UsageError(
                f"{path} was measured with other weights ({str(report.get('checkpoint'))[:12]}) than {loaded.path} has "
                f"({weights[:12]}); evaluate this checkpoint"
            )
        reports.append(report)
    return reports
