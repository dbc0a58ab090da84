"""A very small, untrained ZSI whose regions all look a little like everything."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from helpers import small_models

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.language.coco_classes import SPLITS
from risctl.language.location_phrases import RULE_WORDS
from risctl.language.vocabulary import Vocabulary
from risctl.systems.registry import build_system
from risctl.systems.zsi.model import ZSI


def tiny_zsi(folder: Path) -> Path:
    """Write its checkpoint, which knows the classes, "castle" and the words of places, and return the path."""
    torch.manual_seed(0)
    words = Vocabulary((*" ".join((*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen)).split(), "castle", *RULE_WORDS))
    vectors = np.random.default_rng(0).random((len(words), 12), dtype=np.float32)
    recipe = small_models.recipe_of(small_models.ZSI)
    system = build_system(recipe.model, vocabulary=words, vectors=vectors)
    assert isinstance(system, ZSI)
    path = folder / "zsi.safetensors"
    save_checkpoint(path, system=system.eval(), recipe=recipe, vocabulary=words)
    return path
