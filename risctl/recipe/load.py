"""Loads recipes from a file or by a shipped name, applies overrides, and reports all problems at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from risctl.errors import RecipeError, nearest
from risctl.recipe.base import read_recipe_file
from risctl.recipe.keys import known_keys
from risctl.recipe.overrides import apply_overrides
from risctl.recipe.problems import problems_of
from risctl.recipe.schema import Recipe, include_systems, recipe_json_schema
from risctl.recipe.shipped import shipped_ablations, shipped_recipes
from risctl.section import expand_home
from risctl.systems.registry import SYSTEMS

__all__ = ["find_recipe", "load_recipe", "parse_recipe", "shipped_recipes"]


Upgrade = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = (), *, upgrade: Upgrade | None = None) -> Recipe:
    """Reads a recipe file and validates it.

    Args:
        path_or_name: A YAML file, which may name a `base`, or the name of a shipped recipe or ablation.
        overrides: Changes such as `optim.lr=3e-4` or, to remove a key, `~data.augment`.
        upgrade: Translates the values of a file that an earlier version wrote.

    Raises:
        RecipeError: With all problems at once, those of the overrides included.
    """
    file = find_recipe(path_or_name)
    found = read_recipe_file(file)
    values = found.values
    if isinstance(values, Mapping) and "zeroshot" in values:
        raise RecipeError(
            f"{file} holds options of `risctl zeroshot eval` and `predict`, where nothing is trained: give it there as "
            f"--settings {path_or_name}"
        )
    if upgrade is not None and isinstance(values, Mapping):
        values = upgrade(values)
    return _validate(values, source=str(file), overrides=overrides, origins=dict(found.origins))


def parse_recipe(mapping: Mapping[str, Any], *, source: str, overrides: Sequence[str] = ()) -> Recipe:
    """Validates plain values as a recipe.

    Args:
        mapping: The values.
        source: What to call them in errors.
        overrides: As for `load_recipe`.

    Raises:
        RecipeError: With all problems at once.
    """
    return _validate(mapping, source=source, overrides=overrides, origins={})


def find_recipe(path_or_name: str | Path) -> Path:
    """Returns the file of a recipe given by its path or its shipped name.

    Raises:
        RecipeError: There is neither; the message names the nearest shipped recipe.
    """
    file = Path(expand_home(str(path_or_name)))
    try:
        if file.is_file():
            return file
    except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
        what = getattr(error, "strerror", None) or error
        raise RecipeError(f"cannot look for the recipe {str(path_or_name)[:80]!r}: {what}") from None
    shipped = shipped_recipes()
    ablations = shipped_ablations()
    for known in (shipped, ablations):
        if str(path_or_name) in known:
            return known[str(path_or_name)]
    match = nearest(file.stem if file.suffix in (".yaml", ".yml") else file.name, (*shipped, *ablations))
    hint = f"; did you mean the shipped recipe {match!r}?" if match else "."
    what = "a folder, not a recipe file" if file.is_dir() else "neither a recipe file nor a shipped recipe"
    raise RecipeError(f"{str(path_or_name)!r} is {what}{hint} Shipped: {', '.join(shipped) or 'none'}")


def _validate(values: Any, *, source: str, overrides: Sequence[str], origins: dict[tuple[str, ...], str]) -> Recipe:
    if not isinstance(values, Mapping):
        raise RecipeError(f"{source} is not a recipe: expected keys such as `model:`, got {type(values).__name__}")
    installed = not _names_only_shipped_systems(values, overrides)
    include_systems(installed=installed)
    changed = copy.deepcopy(dict(values))
    problems = []
    if overrides:
        known = known_keys(recipe_json_schema(installed=installed), changed)
        problems = apply_overrides(changed, overrides, known=known, origins=origins)
    try:
        recipe = Recipe.model_validate(changed)
    except ValidationError as error:
        schema = recipe_json_schema(installed=installed)
        problems += problems_of(error, schema=schema, values=changed, origins=origins)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise RecipeError(f"{source}: {count}", problems=problems)
    return recipe


def _names_only_shipped_systems(values: Mapping[str, Any], overrides: Sequence[str]) -> bool:
    """Returns whether no system of an installed package can be meant, so that none need be looked for."""
    model = values.get("model")
    system = model.get("system") if isinstance(model, Mapping) else None
    return system in tuple(SYSTEMS) and not any(
        override.startswith(("model=", "model.system=")) for override in overrides
    )
