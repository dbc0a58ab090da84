"""A system of a few thousand parameters that can be exported."""

from __future__ import annotations

from pathlib import Path

import torch
from helpers.tiny import TinySystem, tiny_recipe

from risctl.checkpoints.loaded_model import LoadedModel
from risctl.language.vocabulary import Vocabulary
from risctl.systems.exportable import ExportsMaps


class ExportableTiny(TinySystem, ExportsMaps):
    """The tiny system, which has plain maps."""


def loaded(kind: type[TinySystem], folder: Path) -> LoadedModel:
    """Return a model of `kind` with random weights, as one that was read from a file in `folder`."""
    torch.manual_seed(0)
    vocabulary = Vocabulary(["the", "man", "left", "red", "square"])
    system = kind(vocabulary=vocabulary, size=32, max_words=6, norm=True, dropout=0.0).eval()
    recipe = tiny_recipe(folder / "none.h5")
    header = {"sha256": {"model.": "0"}, "metrics": {"mIoU": 1.0}}
    return LoadedModel(
        system=system, recipe=recipe, vocabulary=vocabulary, header=header, path=folder / "tiny.safetensors"
    )
