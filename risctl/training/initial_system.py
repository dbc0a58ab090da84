"""Builds the system that a training starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from risctl.checkpoints.loaded_model import Builder
from risctl.data.store.reader import Store
from risctl.models.open import told_about_terms
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.registry import build_system
from risctl.training.init_weights import random_parts, read_init_weights
from risctl.training.seeding import seed_run
from risctl.training.vocabulary import GatheredVocabulary, gather_vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialSystem:
    """A system before its first, or next, step.

    Attributes:
        system: The system, on the CPU.
        vocabulary: Its vocabulary.
        note: For the log, about initial weights from another checkpoint: what was taken, and in a line of its own a
            warning about what stays random; None without any.
    """

    system: System
    vocabulary: GatheredVocabulary
    note: str | None = None


def initial_system(recipe: Recipe, stores: Sequence[Store], *, build: Builder | None = None) -> InitialSystem:
    """Gathers the vocabulary, builds the system with the recipe's seed and loads its initial weights.

    Args:
        recipe: The recipe.
        stores: The stores to train on.
        build: Replaces `build_system`.

    Raises:
        RecipeError: The recipe does not fit its vectors or its initial weights.
        CheckpointError: Initial or pretrained weights belong to another model.
        DataError: A file that the recipe names cannot be read.
    """
    section = recipe.train.init_weights
    init_weights = None if section is None else read_init_weights(section)
    before = None if init_weights is None else init_weights.words
    vocabulary = gather_vocabulary(recipe, stores[0], also=stores[1:], before=before)

    def built(seed: int) -> System:
        seed_run(seed)
        return (build or build_system)(
            recipe.model,
            vocabulary=vocabulary.vocabulary,
            vectors=vocabulary.vectors,
            pretrained=init_weights is None or not init_weights.takes_encoders,
        )

    system, note = built(recipe.train.seed), None
    if init_weights is not None:
        note = init_weights.fill(system, vocabulary.vocabulary)
        if any(not init_weights.takes(name) for name, _ in system.named_parameters()):
            # Other seed, other random numbers: what both have alike was read or is a constant.
            with torch.random.fork_rng(devices=()):
                parts = random_parts(system, built(recipe.train.seed + 1), taken=init_weights.takes)
            if parts:
                note += (
                    "\nwarning: random at the start, since train.init_weights leaves it out and nothing else gives it: "
                    + ", ".join(parts)
                )
    return InitialSystem(system=system, vocabulary=vocabulary, note=note)


def resolved(recipe: Recipe) -> Recipe:
    """Returns `recipe.resolved()`; an error says what is known of the terms of weights that are not to be had."""
    with told_about_terms(getattr(recipe.model, "source", "")):
        return recipe.resolved()
