"""Upgrades checkpoints of earlier format versions as they are read: renamed recipe keys and renamed parameters.

Version 2 (risctl 0.2) renamed recipe keys and parameters after the field's own words. A file of version 1 is upgraded
in memory; its digests are those of the names that it was written with, and are compared before.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, TypeVar

from risctl.recipe.renamed import MODEL_KEYS, RECIPE_KEYS

Value = TypeVar("Value")

RECIPE_VALUES: Mapping[str, Mapping[str, str]] = {
    "data.items": {"phrases": "expressions", "things": "instances", "questions": "box_grounding"}
}
"""By dotted recipe key of version 2: values of version 1 and what they are in version 2."""

PARAMETERS: Mapping[str, Mapping[str, str]] = {
    "mini": {
        "finder.trunk.": "detector.backbone.",
        "finder.detect.": "detector.head.",
        "finder.": "detector.",
        "chooser.": "box_selector.",
    }
}
"""By system: prefixes of parameter names of version 1 and what they are in version 2."""


def upgraded_recipe(recipe: Mapping[str, Any], *, version: int) -> dict[str, Any]:
    """Returns the recipe of a checkpoint's header, or of a run folder, with the keys of today.

    Args:
        recipe: The recipe as the file holds it.
        version: The format version of the file.
    """
    values: dict[str, Any] = copy.deepcopy(dict(recipe))
    if version >= 2:
        return values
    model, stages = values.get("model"), values.get("stages")
    system = str(model.get("system")) if isinstance(model, dict) else ""
    renamed = {f"model.{old}": f"model.{new}" for old, new in MODEL_KEYS.get(system, {}).items()}
    visual = model.get("visual") if isinstance(model, dict) else None
    if isinstance(visual, dict) and "drop_path" in visual and "swin" not in str(visual.get("name")):
        visual["drop_path"] = 0.0  # version 1 wrote it for every backbone, and only Swin reads it
    for section in (values, *(stages.values() if isinstance(stages, dict) else ())):
        for old, new in {**RECIPE_KEYS, **renamed}.items():
            _move(section, old.split("."), new.split("."))
        for key, replaced in RECIPE_VALUES.items():
            _replace(section, key.split("."), replaced)
        _rename_prefixes(section, PARAMETERS.get(system, {}))
    return values


def upgraded_names(tensors: Mapping[str, Value], *, system: str, version: int) -> dict[str, Value]:
    """Returns tensors under the parameter names of today.

    Args:
        tensors: Tensors by name; a group's prefix (`model.`, `mean.`, `training.`) may stand before the parameter's
            name.
        system: The name of the system that the parameters belong to.
        version: The format version of the file.
    """
    renamed = PARAMETERS.get(system, {}) if version < 2 else {}
    result: dict[str, Value] = {}
    for name, value in tensors.items():
        for old, new in renamed.items():
            at = name.find(old)
            # An optimizer's moments are named `training.exp_avg <parameter>`.
            if at == 0 or (at > 0 and name[at - 1] in ". "):
                name = name[:at] + new + name[at + len(old) :]
        result[name] = value
    return result


def _rename_prefixes(values: Any, renamed: Mapping[str, str]) -> None:
    """Renames the parameter prefixes in `optim.multipliers` and in the lists of `train.init_weights`."""

    def today(prefix: str) -> str:
        for old, new in renamed.items():
            if f"{prefix}.".startswith(old):
                return (new + f"{prefix}."[len(old) :]).removesuffix(".")
        return prefix

    if (optim := _holder(values, ["optim", "multipliers"])) and isinstance(optim["multipliers"], dict):
        optim["multipliers"] = {today(prefix): factor for prefix, factor in optim["multipliers"].items()}
    for key in ("include", "exclude"):
        if (section := _holder(values, ["train", "init_weights", key])) and isinstance(section[key], list | tuple):
            section[key] = [today(str(prefix)) for prefix in section[key]]


def _move(values: Any, old: list[str], new: list[str]) -> None:
    """Moves the value at the path `old`, if there is one, to the path `new`."""
    holder = _holder(values, old)
    if holder is None:
        return
    value = holder.pop(old[-1])
    target: Any = values
    for part in new[:-1]:
        target = target.setdefault(part, {})
    target[new[-1]] = value


def _replace(values: Any, path: list[str], replaced: Mapping[str, str]) -> None:
    """Replaces the value at `path`, if it is one of `replaced`."""
    holder = _holder(values, path)
    if holder is not None and isinstance(holder[path[-1]], str):
        holder[path[-1]] = replaced.get(holder[path[-1]], holder[path[-1]])


def _holder(values: Any, path: list[str]) -> dict[str, Any] | None:
    """Returns the mapping that holds the last key of `path`, None if there is none."""
    for part in path[:-1]:
        values = values.get(part) if isinstance(values, dict) else None
    return values if isinstance(values, dict) and path[-1] in values else None
