"""Writes the checkpoints of a run: the best, and those that it can go on from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from risctl.checkpoints.checkpoint import grouped, save_checkpoint
from risctl.data.store.reader import Store
from risctl.distributed import failing_together, local_of
from risctl.systems.base import System
from risctl.training.components import TrainerComponents
from risctl.training.optimizer import optimizer_tensors
from risctl.training.resumption import HEADER_SUM, header_sum
from risctl.training.sharded_saves import save_shards
from risctl.training.state import TrainingError, TrainingState


class RunSaver:
    """Writes the checkpoints of a run.

    Args:
        parts: What the trainer works with.
        steps_per_epoch: Steps of an epoch.
    """

    def __init__(self, parts: TrainerComponents, *, steps_per_epoch: int) -> None:
        self.parts = parts
        self.steps_per_epoch = steps_per_epoch

    def save_best(self, state: TrainingState, system: System) -> None:
        """Saves a system, whole and with the EMA as its weights, as the best of the run.

        Raises:
            TrainingError: Its weights are no longer finite.
            MachineError: The disk refuses.
        """
        self._check_finite(system.state_dict(), self.parts.run.best.name, state)
        save_checkpoint(
            self.parts.run.best,
            system=system,
            recipe=self.parts.recipe,
            vocabulary=self.parts.vocabulary,
            extra=self._extra(state),
        )

    def save_resumable(self, path: Path, state: TrainingState, *, keep: Path | None) -> None:
        """Saves the run. All processes must call it, and return when there is a save.

        Args:
            path: The file; a divided run writes shards instead, which become `last`.
            state: Where the run stands, as the first process has it.
            keep: What the file that is replaced is called afterwards; None: it is removed.

        Raises:
            TrainingError: The weights are no longer finite.
            MachineError: The disk refuses.
        """
        parts = self.parts
        if parts.sharded is None:
            with failing_together():
                if parts.accelerator.is_main_process:
                    self._check_finite(parts.system.state_dict(), path.name, state)
                    save_checkpoint(
                        path,
                        system=parts.system,
                        recipe=parts.recipe,
                        vocabulary=parts.vocabulary,
                        extra=self._resumable(state),
                        mean=self._mean(),
                        training=optimizer_tensors(parts.train_step.optimizer, parts.system),
                        old=keep,
                    )
            return
        weights = parts.system.state_dict()
        with failing_together():
            self._check_finite(weights, path.name, state)
        training = optimizer_tensors(parts.train_step.optimizer, parts.system)
        tensors = grouped(weights, mean=self._mean(), training=training)
        save_shards(parts.run, tensors, {**self._resumable(state), **self._own()}, step=state.step)

    def _mean(self) -> Mapping[str, Tensor] | None:
        return None if self.parts.ema is None else self.parts.ema.tensors

    def _check_finite(self, weights: Mapping[str, Tensor], name: str, state: TrainingState) -> None:
        for one, tensor in weights.items():
            if tensor.is_floating_point() and not bool(torch.isfinite(local_of(tensor)).all()):
                raise TrainingError(
                    f"{one} is no longer finite at step {state.step}; {name} was not saved. Start anew with a "
                    "smaller optim.lr, optim.clip_norm=1.0 or train.precision=fp32"
                )

    def _own(self) -> dict[str, Any]:
        recipe, vocabulary = self.parts.recipe, self.parts.vocabulary
        return {"recipe": recipe.model_dump(mode="json"), "vocabulary": vocabulary.to_list()}

    def _resumable(self, state: TrainingState) -> dict[str, Any]:
        extra = self._extra(state)
        extra["state"] = state.to_json()
        extra["position"] = {"steps_per_epoch": self.steps_per_epoch, "processes": self.parts.batching.began_with}
        extra[HEADER_SUM] = header_sum({**extra, **self._own()})
        return extra

    def _extra(self, state: TrainingState) -> dict[str, Any]:
        first, *others = map(_store_entry, self.parts.stores)
        dataset = {**first, "split": self.parts.recipe.data.train_split}
        if others:
            dataset["also"] = others
        return {
            "dataset": dataset,
            "protocol": self.parts.recipe.eval.protocol,
            "step": state.step,
            "epoch": round(state.step / self.steps_per_epoch, 4),
            "metrics": state.figures,
            "best": None if state.best is None else asdict(state.best),
            "without_vector": list(self.parts.without_vector),
        }


def _store_entry(store: Store) -> dict[str, Any]:
    return {"name": store.name, "split_by": store.split_by, "fingerprint": store.fingerprint}
