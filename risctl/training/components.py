"""Defines what a trainer works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator

from risctl.data.loading.loader import EpochSampler
from risctl.data.store.reader import Store
from risctl.language.vocabulary import Vocabulary
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.training.ema import EMA
from risctl.training.global_batch import GlobalBatch
from risctl.training.logger import Logger
from risctl.training.run_folder import RunFolder
from risctl.training.sharding import ShardedSystem
from risctl.training.train_step import TrainStep
from risctl.training.validation import Validation


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerComponents:
    """What a trainer works with, assembled by `risctl.training.run`.

    Attributes:
        recipe: The recipe.
        run: The run folder.
        stores: The stores to train on; the first is evaluated on, too.
        vocabulary: The vocabulary.
        without_vector: The words that should have a vector and have none.
        system: The system, in training mode and on its device.
        sharded: Holds the system that is divided among processes; None where each has the whole.
        train_step: Updates the system.
        ema: Averages its weights, if at all.
        sampler: Orders the samples.
        batching: How the samples of a step are divided among the processes.
        dataset: The training samples.
        validation: Evaluates the system, if there is something to evaluate it on.
        accelerator: The accelerator.
        logger: Logs the run.
    """

    recipe: Recipe
    run: RunFolder
    stores: tuple[Store, ...]
    vocabulary: Vocabulary
    without_vector: tuple[str, ...]
    system: System
    sharded: ShardedSystem | None
    train_step: TrainStep
    ema: EMA | None
    sampler: EpochSampler
    batching: GlobalBatch
    dataset: Any
    validation: Validation | None
    accelerator: Accelerator
    logger: Logger
