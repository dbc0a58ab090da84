"""Restores a run from its `last` save, or by name from the one before if `last` is damaged or missing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from risctl.checkpoints.checkpoint import MEAN, MODEL, TRAINING, fill, read_tensors, recipe_of, vocabulary_of
from risctl.checkpoints.loaded_model import Builder
from risctl.data.store.reader import Store
from risctl.errors import CheckpointError, DataError, UsageError
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.registry import build_system
from risctl.training.ema import EMA
from risctl.training.initial_system import InitialSystem
from risctl.training.optimizer import load_optimizer
from risctl.training.run_folder import RunFolder
from risctl.training.seeding import seed_run
from risctl.training.state import TrainingState
from risctl.training.vocabulary import GatheredVocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """The checkpoint that a run is resumed from.

    Attributes:
        path: The file.
        header: Its header.
        tensors: Weights, EMA and optimizer state by prefixed name.
        note: What to log if it is not `last`; None otherwise.
        is_last_damaged: Whether `last` is there and cannot be used.
    """

    path: Path
    header: dict[str, Any]
    tensors: dict[str, Tensor]
    note: str | None = None
    is_last_damaged: bool = False

    @classmethod
    def read(cls, run: RunFolder) -> Resumption | None:
        """Reads the newest save of a run that can be used; returns None if the run was killed before it began.

        Raises:
            CheckpointError: There is none, and a new beginning would replace what the run has left.
        """
        problems: list[str] = []
        for path in (run.last, run.previous):
            try:
                header, tensors = _read_save(path)
            except CheckpointError as error:
                problems.append(str(error))
                continue
            note = None
            if problems:
                note = f"{problems[0]}; the run continues from {path.name}, the save before it, after step "
                note += str(header["state"]["step"])
                if not os.path.lexists(run.last) and not run.best.exists() and not header["state"]["step"]:
                    note = f"the run was stopped before its first save of {run.last.name}: it begins again"
            damaged = bool(problems) and run.last.exists()
            return cls(path=path, header=header, tensors=tensors, note=note, is_last_damaged=damaged)
        if not run.has_begun():
            return None
        raise CheckpointError(
            f"{run.path} holds no save to continue from, and is not begun anew, which would replace its metrics and "
            f"`best`: {'; '.join(problems)}. Bring back one of the two files, or start a new run with another --out"
        )

    def check_recipe(self, recipe: Recipe, *, changeable: frozenset[str]) -> None:
        """Checks that nothing has changed in the recipe that makes it another run.

        Raises:
            UsageError: Something has: recipe.yaml was edited.
        """
        trained = recipe_of(self.header, self.path).model_dump(mode="json")
        if forbidden := sorted(differences(trained, recipe.model_dump(mode="json")) - changeable):
            raise UsageError(
                f"{self.path} was trained with another recipe: {', '.join(forbidden)} differ, so recipe.yaml was "
                "edited; take that back, or start a new run"
            )

    def check_stores(self, stores: Sequence[Store]) -> None:
        """Checks the stores.

        Raises:
            DataError: `stores` are not those that the run was trained on.
        """
        dataset = self.header.get("dataset", {})
        before = [dataset.get("fingerprint"), *(one.get("fingerprint") for one in dataset.get("also", ()))]
        if len(before) != len(stores):
            raise DataError(f"the run had {len(before)} stores, now there are {len(stores)}; name them as before")
        for expected, store, key in zip(before, stores, ["data.store", *["data.also"] * len(stores)], strict=False):
            if expected != store.fingerprint:
                raise DataError(
                    f"{store.path} is not what the run was trained on: expected fingerprint {str(expected)[:12]}, got "
                    f"{store.fingerprint[:12]}; name the store with {key}=FILE, or start a new run"
                )

    def check_position(self, *, steps_per_epoch: int) -> None:
        """Checks that the run can go on where it stood.

        Raises:
            UsageError: The run had another number of steps per epoch.
        """
        before = self.header["position"].get("steps_per_epoch")
        if before != steps_per_epoch:
            raise UsageError(
                f"the run had {before} steps per epoch, now there are {steps_per_epoch}; start it as before to go on "
                "exactly"
            )

    def build(self, recipe: Recipe, *, build: Builder | None = None) -> InitialSystem:
        """Builds the run's system with the weights of the checkpoint."""
        vocabulary = vocabulary_of(self.header, self.path)
        gathered = GatheredVocabulary(
            vocabulary=vocabulary,
            vectors=None,
            note=f"words: {len(vocabulary)}, of the run",
            without=tuple(self.header.get("without_vector", ())),
        )
        seed_run(recipe.train.seed)
        system = (build or build_system)(recipe.model, vocabulary=vocabulary, vectors=None, pretrained=False)
        fill(system, self._group(MODEL), source=self.path)
        return InitialSystem(system=system, vocabulary=gathered)

    def restore(self, system: System, optimizer: Optimizer, *, ema: EMA | None, scaler: Any | None) -> TrainingState:
        """Restores the optimizer, the EMA and the gradient scaler, and returns the state of the run."""
        state = TrainingState.from_json(self.header["state"])
        load_optimizer(optimizer, system, self._group(TRAINING), source=self.path)
        if ema is not None:
            ema.load(self._group(MEAN))
        if state.scaler is not None and scaler is not None:
            scaler.load_state_dict(state.scaler)
        return state

    def _group(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): one for name, one in self.tensors.items() if name.startswith(prefix)}


def state_of_save(path: Path) -> TrainingState | None:
    """Returns the state of the run in a save; None if the file tells nothing of it."""
    try:
        return TrainingState.from_json(read_tensors(path, prefixes=())[0].get("state"))
    except CheckpointError:
        return None


HEADER_SUM = "resume_sha256"
# Entries that the checkpoint's format adds by itself.
_FORMAT = frozenset({"format_version", "risctl", "sha256", HEADER_SUM})


def header_sum(header: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of the entries of a save's header; the sums of a checkpoint are of its tensors alone."""
    entries = {name: value for name, value in header.items() if name not in _FORMAT}
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()


def differences(first: Any, second: Any, *, path: str = "") -> set[str]:
    """Returns the dotted paths whose values differ."""
    if isinstance(first, dict) and isinstance(second, dict):
        keys = [*first, *(key for key in second if key not in first)]
        return {
            one
            for key in keys
            for one in differences(first.get(key), second.get(key), path=f"{path}.{key}" if path else str(key))
        }
    return set() if first == second else {path}


def _read_save(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Returns the header and the tensors of a save.

    Raises:
        CheckpointError: It is missing, damaged, or no save but another checkpoint.
    """
    if not os.path.lexists(path):
        raise CheckpointError(f"{path.name} is missing")
    header, tensors = read_tensors(path, prefixes=(MODEL, MEAN, TRAINING))
    # Saves of risctl 0.1 have no such sum.
    if HEADER_SUM in header and header[HEADER_SUM] != header_sum(header):
        raise CheckpointError(f"{path} is damaged: its header differs from its digest")
    state = TrainingState.from_json(header.get("state"))
    if not isinstance(header.get("position"), dict) or not isinstance(state.step, int):
        raise CheckpointError(f"{path} holds no training state; it can be used, but not be resumed")
    return header, tensors
