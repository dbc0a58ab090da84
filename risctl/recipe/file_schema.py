"""Describes every file that a recipe can stand in, as JSON Schema: whole recipes, recipes on a base, and settings.

The schema of a recipe on a base is that of a whole one with nothing required, as its base has the rest; which keys
there are, and what they hold, is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from risctl.recipe.ablations import ZeroshotSettings
from risctl.recipe.base import BASE
from risctl.recipe.schema import recipe_json_schema

_PREFIX = "#/$defs/"
_WHOLE = ("ablation", "stages")
"""Keys that a file on a base writes as a whole recipe does: no part of an `ablation` is inherited, and a stage is
changes anyway."""


def file_json_schema(*, installed: bool = True) -> dict[str, Any]:
    """Returns the JSON Schema of recipe files: of whole recipes, of those with `base:`, and of zero-shot settings.

    Args:
        installed: Whether to look for systems of installed packages.
    """
    whole = recipe_json_schema(installed=installed)
    settings = ZeroshotSettings.model_json_schema()
    definitions: dict[str, Any] = {**whole.pop("$defs"), **settings.pop("$defs", {})}
    dialect, title = whole.pop("$schema"), whole.pop("title")
    on_base = _changes(whole, definitions)
    on_base["properties"] = {
        BASE: {
            "description": "The recipe that this file changes: the name of a shipped one, or a .yaml file beside this.",
            "maxLength": 200,
            "minLength": 1,
            "title": "Base",
            "type": "string",
        },
        **on_base["properties"],
        **{name: whole["properties"][name] for name in _WHOLE},
    }
    definitions |= {
        "Recipe": {**whole, "title": "Recipe"},
        "RecipeOnBase": {
            **on_base,
            "description": "A recipe that is another one with changes: sections are merged key by key, all else is "
            "replaced.",
            "required": [BASE],
            "title": "RecipeOnBase",
        },
        "ZeroshotSettings": settings,
    }
    return {
        "$schema": dialect,
        "title": title,
        "description": "A recipe; with `base`, changes of another one; with `zeroshot`, options of `risctl zeroshot`.",
        "type": "object",
        "if": {"required": [BASE]},
        "then": {"$ref": f"{_PREFIX}RecipeOnBase"},
        "else": {
            "if": {"required": ["zeroshot"]},
            "then": {"$ref": f"{_PREFIX}ZeroshotSettings"},
            "else": {"$ref": f"{_PREFIX}Recipe"},
        },
        "$defs": definitions,
    }


def _changes(node: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of changes of what `node` describes; adds those of the sections in it to `definitions`.

    Nothing is required and nothing has a default: both are the base's. A section whose kind a key tells (`model` by its
    `system`) is any of its kinds, since the file need not repeat that key.
    """
    changed = {key: value for key, value in node.items() if key not in ("required", "default", "discriminator")}
    if "$ref" in changed:
        name = changed["$ref"].removeprefix(_PREFIX)
        partial = f"{name}Changes"
        if partial not in definitions:
            definitions[partial] = {}  # a section that holds itself ends here
            definitions[partial] = {**_changes(definitions[name], definitions), "title": partial}
        changed["$ref"] = _PREFIX + partial
    if "properties" in changed:
        changed["properties"] = {name: _changes(one, definitions) for name, one in changed["properties"].items()}
    forms = [*changed.pop("oneOf", ()), *changed.pop("anyOf", ())]
    if forms:
        changed["anyOf"] = [_changes(one, definitions) for one in forms]
    return changed
