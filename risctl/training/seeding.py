"""Seeds the random generators as a function of the step, so that a resumed run needs no state of theirs."""

from __future__ import annotations

import random

import numpy as np
import torch

_STEP, _START = 3, 4


def seed_run(seed: int) -> None:
    """Seeds all global generators for building the model, alike in every process."""
    _seed_all(np.random.SeedSequence((_START, seed)))


def seed_batch(seed: int, step: int, *, place: int) -> None:
    """Seeds all global generators for one batch of a step.

    Args:
        seed: The run's seed.
        step: Updates done before.
        place: The place of the batch among those of the step in all processes, so that dropout does not depend on how
            many there are.
    """
    _seed_all(np.random.SeedSequence((_STEP, seed, step, place)))


def _seed_all(source: np.random.SeedSequence) -> None:
    first, second, third = (int(word) for word in source.generate_state(3, np.uint64))
    torch.manual_seed(first >> 1)
    random.seed(second)
    # Systems should draw from torch; numpy's old global state is seeded for libraries that do not.
    np.random.seed(third & 0xFFFFFFFF)
