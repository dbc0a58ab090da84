"""Upgrades checkpoints of earlier format versions as they are read: renamed recipe keys and renamed parameters.

Version 2 (risctl 0.2) renamed recipe keys and parameters after the field's own words. A file of version 1 is upgraded
in memory; its digests are those of the names that it was written with, and are compared before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

Value = TypeVar("Value")

RECIPE_KEYS: Mapping[str, str] = {}
"""Dotted recipe keys of version 1 and their names in version 2, for any system."""

MODEL_KEYS: Mapping[str, Mapping[str, str]] = {}
"""By system: keys of version 1 within `model`, dotted, and their names in version 2."""

PARAMETERS: Mapping[str, Mapping[str, str]] = {"mini": {"finder.trunk.": "finder.backbone."}}
"""By system: prefixes of parameter names of version 1 and what they are in version 2."""


def upgraded_recipe(recipe: Mapping[str, Any], *, version: int) -> dict[str, Any]:
    """Returns the recipe of a checkpoint's header with the keys of today.

    Args:
        recipe: The recipe as the file holds it.
        version: The format version of the file.
    """
    values = {key: dict(value) if isinstance(value, Mapping) else value for key, value in recipe.items()}
    if version >= 2:
        return values
    renamed = dict(RECIPE_KEYS)
    model = values.get("model")
    if isinstance(model, Mapping):
        own = MODEL_KEYS.get(str(model.get("system")), {})
        renamed |= {f"model.{old}": f"model.{new}" for old, new in own.items()}
    for old, new in renamed.items():
        _move(values, old.split("."), new.split("."))
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
            if at == 0 or (at > 0 and name[at - 1] == "."):
                name = name[:at] + new + name[at + len(old) :]
        result[name] = value
    return result


def _move(values: dict[str, Any], old: list[str], new: list[str]) -> None:
    """Moves the value at the path `old`, if there is one, to the path `new`."""
    holder: Any = values
    for part in old[:-1]:
        holder = holder.get(part) if isinstance(holder, dict) else None
    if not isinstance(holder, dict) or old[-1] not in holder:
        return
    value = holder.pop(old[-1])
    target: Any = values
    for part in new[:-1]:
        target = target.setdefault(part, {})
    target[new[-1]] = value
