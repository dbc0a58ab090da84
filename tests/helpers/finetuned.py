"""Recipes that fine-tune tiny models of transformers with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.tiny_finders import KINDS, write_finder
from helpers.tiny_prompted import write_prompted

from risctl.core.encoders.text.registry import read_tokenizer
from risctl.language.vocabulary import Vocabulary
from risctl.systems.registry import build_system
from risctl.systems.transformers.config import TransformersModel
from risctl.systems.transformers.model import FineTuned

FAMILIES = ("clipseg", "sam3", "owlv2", "grounding-dino")


def write_model(folder: Path, kind: str) -> Path:
    """Write the tiny model `kind` where it is not there yet; return its folder."""
    if not folder.exists():
        (write_finder if kind in KINDS else write_prompted)(folder, kind)
    return folder


def section_of(folder: Path, **changes: Any) -> TransformersModel:
    """Return the `model` section of a model, complete."""
    values = {"system": "transformers", "name": f"hf:{folder}", **changes}
    return TransformersModel.model_validate(values).resolved()


def tokens_of(folder: Path) -> Vocabulary:
    """Return the tokenizer of a model."""
    return read_tokenizer(f"hf:{folder}", str(folder))


def finetuned(folder: Path, **changes: Any) -> FineTuned:
    """Return the system of a model, with its weights."""
    system = build_system(section_of(folder, **changes), vocabulary=tokens_of(folder))
    assert isinstance(system, FineTuned)
    return system
