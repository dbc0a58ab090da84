"""The keys of recipes that risctl 0.2 renamed: files of 0.1 are read by them, and errors tell the new names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RECIPE_KEYS: Mapping[str, str] = {
    "data.augment.crop.share": "data.augment.crop.probability",
    "data.augment.crop.short": "data.augment.crop.short_sides",
    "data.augment.crop.least": "data.augment.crop.min_size",
    "data.augment.crop.most": "data.augment.crop.max_size",
    "data.questions.made": "data.questions.generated",
    "data.questions.found": "data.questions.detected",
    "data.questions.drop": "data.questions.box_dropout",
    "data.questions.detector": "data.questions.detector_noise",
    "data.questions.colours": "data.questions.random_colours",
    "data.questions.typo": "data.questions.typos",
    "data.questions": "data.box_grounding",
    "train.start.parts": "train.start.include",
    "train.start.anew": "train.start.exclude",
    "train.start": "train.init_weights",
}
"""Dotted recipe keys of version 1 and their names in version 2, for any system, in the order they are applied."""

MODEL_KEYS: Mapping[str, Mapping[str, str]] = {
    "mini": {"most": "max_count", "floor": "score_threshold", "presence": "no_target_threshold"}
}
"""By system: keys of version 1 within `model`, dotted, and their names in version 2."""


def name_of_today(path: tuple[str, ...], values: Any) -> str | None:
    """Returns the dotted name of a key that version 1 had under another one, None for any other key.

    Args:
        path: The key as it was given, in a stage or outside of one.
        values: The recipe's values, which say which system it is of.
    """
    of_stage, path = (path[:2], path[2:]) if path[:1] == ("stages",) else ((), path)
    model = values.get("model") if isinstance(values, Mapping) else None
    system = model.get("system") if isinstance(model, Mapping) else None
    of_model = {f"model.{old}": f"model.{new}" for old, new in MODEL_KEYS.get(str(system), {}).items()}
    today = {**RECIPE_KEYS, **of_model}.get(".".join(path))
    return None if today is None else ".".join((*of_stage, today))
