"""Opens a model by its name for evaluation: one of risctl's checkpoints, or a model of transformers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from risctl.checkpoints.loaded_model import LoadedModel, load_checkpoint
from risctl.data.download.mirrors import sha256_of
from risctl.data.store.reader import TextField
from risctl.errors import UsageError
from risctl.evaluation.published.beside import Trained
from risctl.inference.predictor import Predictor
from risctl.inference.store_predictor import PredictorOnStore, StorePredictor
from risctl.metrics.protocols import Protocol, get_protocols
from risctl.models.names import ModelName, images_only, parse_name
from risctl.models.tracked_video import TrackedVideoPredictor
from risctl.models.tracking import open_tracker
from risctl.recipe.schema import Recipe
from risctl.systems.base import System

DEFAULT_PROTOCOL = "original"
_TEXT_BATCH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedModel:
    """A model that was opened for evaluation.

    Attributes:
        name: How reports call it: the path of the checkpoint, or the name.
        model: What predicts.
        trained: What is known of its training.
        text_field: The form of the text that it reads.
        text_batch: Expressions that are decoded together.
        loaded: The checkpoint; None for a model of transformers.
    """

    name: str
    model: System | StorePredictor
    trained: Trained
    text_field: TextField
    text_batch: int
    loaded: LoadedModel | None

    @property
    def path(self) -> Path | None:
        """The checkpoint's file, None for a model of transformers."""
        return None if self.loaded is None else self.loaded.path

    @property
    def answering(self) -> object:
        """What has the thresholds: the system, or the predictor of a model of transformers."""
        return self.model.predictor if isinstance(self.model, PredictorOnStore) else self.model

    def checkpoint(self) -> str | None:
        """Returns the hash of the checkpoint; None for a model of transformers, whose weights are several files."""
        return None if self.loaded is None else sha256_of(self.loaded.path)

    def protocols(self, *, names: str | None, threshold: float | None) -> list[Protocol]:
        """Returns the protocols to evaluate by; see `recipe_protocols`."""
        if self.loaded is not None:
            return recipe_protocols(self.loaded.recipe, names=names, threshold=threshold)
        return [one.at_threshold(given=threshold, recipe=None) for one in get_protocols(names or DEFAULT_PROTOCOL)]

    def tracked(self, tracker: str, *, device: torch.device, threshold: float) -> tuple[TrackedVideoPredictor, str]:
        """Returns the model with a tracker that carries its masks through videos, and what reports call the two.

        Args:
            tracker: As `risctl.models.tracking.open_tracker` takes it.
            device: Where the tracker computes.
            threshold: A pixel belongs to the mask if its probability is above it.

        Raises:
            CheckpointError: There is no such tracker.
            MachineError: Its weights are neither here nor to be had.
            UsageError: Its name is wrong.
        """
        carrying = open_tracker(tracker, device=device)
        if isinstance(self.model, PredictorOnStore):
            finding = self.model.predictor
        else:
            assert self.loaded is not None
            finding = Predictor(self.loaded, threshold=threshold)
        return TrackedVideoPredictor(finding, carrying, threshold=threshold), f"{self.name} + {carrying.name}"

    def own(self, what: str) -> LoadedModel:
        """Returns the checkpoint, for what only risctl's own models can do.

        Args:
            what: What it is wanted for, in words.

        Raises:
            UsageError: It is a model of transformers.
        """
        if self.loaded is None:
            raise UsageError(images_only(self.name, what))
        return self.loaded


def open_evaluated(
    model: str | Path | None, device: torch.device, *, surest: bool = False, no_target_threshold: float | None = None
) -> EvaluatedModel:
    """Opens a model by name.

    Args:
        model: As `risctl.models.open.open_predictor` takes it.
        device: Where it computes.
        surest: Of a model of transformers: whether its surest instance alone is the answer.
        no_target_threshold: In place of the model's own.

    Raises:
        CheckpointError: There is no usable model.
        MachineError: The weights are neither here nor to be had.
        UsageError: The name is wrong, or `surest` is asked of one of risctl's own models.
    """
    name = parse_name(model, fetch=True)
    if name is not None:
        return _of_transformers(name, device, surest=surest, no_target_threshold=no_target_threshold)
    if surest:
        raise UsageError("the surest instance alone is a choice of models of transformers; leave --surest out")
    loaded = load_checkpoint(model, device)
    if no_target_threshold is not None:
        loaded.system.no_target_threshold = no_target_threshold
    return EvaluatedModel(
        name=str(loaded.path),
        model=loaded.system,
        trained=Trained.of(loaded.recipe),
        text_field=loaded.recipe.eval_text_field,
        text_batch=loaded.recipe.eval.text_batch,
        loaded=loaded,
    )


def _of_transformers(
    name: ModelName, device: torch.device, *, surest: bool, no_target_threshold: float | None
) -> EvaluatedModel:
    from risctl.models.open import open_prompted

    predictor = open_prompted(name, device=device, surest=surest, no_target_threshold=no_target_threshold)
    weights = " and ".join(name.sources)
    return EvaluatedModel(
        name=name.name,
        model=PredictorOnStore(predictor),
        trained=Trained(system=name.name, weights=f"{name.name}, weights of {weights}", data="see its publisher"),
        text_field="sent",
        text_batch=_TEXT_BATCH,
        loaded=None,
    )


def recipe_protocols(recipe: Recipe, *, names: str | None, threshold: float | None) -> list[Protocol]:
    """Returns the protocols to evaluate by.

    Args:
        recipe: The model's recipe. Its threshold is that of protocols which leave it to the model.
        names: Names between commas; None takes the recipe's protocol, as if it had been named.
        threshold: Holds for all protocols; None takes theirs, see `Protocol.at_threshold`.

    Raises:
        UsageError: A protocol is unknown.
    """
    protocols = get_protocols(recipe.eval.protocol if names is None else names)
    return [protocol.at_threshold(given=threshold, recipe=recipe.eval.threshold) for protocol in protocols]
