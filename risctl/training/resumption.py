"""Restores a run from its `last` checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from risctl.checkpoints.checkpoint import MEAN, MODEL, TRAINING, fill, read_tensors, vocabulary_of
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
    """

    path: Path
    header: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def read(cls, run: RunFolder) -> Resumption | None:
        """Reads the `last` checkpoint of a run; returns None if it was killed before its first save."""
        if not run.last.is_file():
            return None
        header, tensors = read_tensors(run.last, prefixes=(MODEL, MEAN, TRAINING))
        return cls(path=run.last, header=header, tensors=tensors)

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

    def check_position(self, *, steps_per_epoch: int, processes: int) -> None:
        """Checks that the run can go on exactly.

        Raises:
            UsageError: The run had another number of steps per epoch or of processes.
        """
        position = self.header.get("position")
        if not isinstance(position, dict):
            raise CheckpointError(f"{self.path} holds no training state; it can be used, but not be resumed")
        for name, value in {"steps_per_epoch": steps_per_epoch, "processes": processes}.items():
            if position.get(name) != value:
                raise UsageError(
                    f"the run had {position.get(name)} {name.replace('_', ' ')}, now there are {value}; start it as "
                    "before to go on exactly"
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
        state = TrainingState.from_json(self.header.get("state"))
        load_optimizer(optimizer, system, self._group(TRAINING), source=self.path)
        if ema is not None:
            ema.load(self._group(MEAN))
        if state.scaler is not None and scaler is not None:
            scaler.load_state_dict(state.scaler)
        return state

    def _group(self, prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): one for name, one in self.tensors.items() if name.startswith(prefix)}
