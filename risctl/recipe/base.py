"""Reads recipe files, and resolves `base:`, by which a recipe is another one with changes.

A base is the name of a shipped recipe, or a file (ending in .yaml or .yml) in the folder of the recipe or below it. A
base can have a base itself, a few deep. Sections are merged key by key; everything else is replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from risctl.errors import RecipeError, nearest
from risctl.recipe import document
from risctl.recipe.keys import in_yaml
from risctl.recipe.shipped import shipped_ablations, shipped_recipes
from risctl.recipe.stages import merged

BASE = "base"
"""The key that names the base. It stands in files alone: it is resolved before a recipe is validated."""

MOST_BASES = 4
"""Bases on bases."""

_OWN = ("ablation",)  # says what one file is, so that no other inherits it

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """The values of a recipe file, with those of its base.

    Attributes:
        values: The values; no mapping if the file holds something else.
        origins: Where each key was given, such as `line 3` or, in a base, `vlt-refcoco.yaml line 3`.
    """

    values: Any
    origins: dict[KeyPath, str]


def read_recipe_file(file: Path) -> RecipeFile:
    """Reads a recipe file and its bases.

    Raises:
        RecipeError: A file cannot be read, is no YAML, or has a base that cannot be found or stands outside its folder.
    """
    return _read(file, above=())


def _read(file: Path, *, above: tuple[Path, ...]) -> RecipeFile:
    values, lines = parse_recipe_file(file)
    origins = {path: f"line {line}" for path, line in lines.items()}
    if not isinstance(values, Mapping) or BASE not in values:
        return RecipeFile(values=values, origins=origins)
    chain = (*above, file.resolve())
    found = _find_base(values[BASE], file=file, where=origins[(BASE,)])
    if found.resolve() in chain:
        raise _problem(file, origins[(BASE,)], f"{found.name} is based on {file.name} itself; name another recipe")
    if len(chain) > MOST_BASES:
        raise _problem(file, origins[(BASE,)], f"expected at most {MOST_BASES} bases on one another")
    base = _read(found, above=chain)
    if not isinstance(base.values, Mapping):
        raise _problem(file, origins[(BASE,)], f"{found} holds no recipe: expected keys such as `model:`")
    own = {key: value for key, value in values.items() if key != BASE}
    under = {key: value for key, value in base.values.items() if key not in _OWN}
    replaced = [*_replaced(under, own, ()), *((key,) for key in _OWN)]
    inherited = {
        path: f"{found.name} {at}" if at.startswith("line ") else at
        for path, at in base.origins.items()
        if not any(path[: len(one)] == one for one in replaced)
    }
    return RecipeFile(
        values=merged(under, own), origins=inherited | {path: at for path, at in origins.items() if path != (BASE,)}
    )


def parse_recipe_file(file: Path) -> tuple[Any, dict[KeyPath, int]]:
    """Returns what a file holds, its base left alone, and the line of every key path in it.

    Raises:
        RecipeError: The file cannot be read, is too large, or is no YAML.
    """
    try:
        size = file.stat().st_size
        if size > 4 * document.MAX_CHARACTERS:
            raise RecipeError(
                f"{file} is not a recipe: it has {size:,} bytes, and a recipe at most "
                f"{document.MAX_CHARACTERS:,} characters"
            )
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the recipe {file}: {error}") from None
    try:
        return document.read(text)
    except document.DocumentError as error:
        raise RecipeError(
            f"{file} is not a recipe: expected YAML", problems=[f"line {line}: {what}" for line, what in error.problems]
        ) from None


def _find_base(name: Any, *, file: Path, where: str) -> Path:
    if not isinstance(name, str) or not name or len(name) > 200 or "\0" in name:
        raise _problem(
            file, where, f"expected the name of a shipped recipe or a .yaml file beside this one; got {in_yaml(name)}"
        )
    if not name.endswith((".yaml", ".yml")):
        shipped = shipped_recipes() | shipped_ablations()
        if name in shipped:
            return shipped[name]
        match = nearest(name, shipped)
        hint = f"; did you mean {match!r}?" if match else "; `risctl recipes ls` lists them, files end in .yaml"
        raise _problem(file, where, f"{name!r} is no shipped recipe{hint}")
    relative = PurePosixPath(name)
    folder = file.resolve().parent
    beside = (folder / relative).resolve()
    if relative.is_absolute() or not beside.is_relative_to(folder):
        raise _problem(file, where, f"expected a file in {folder} or below it; got {name!r}")
    if not beside.is_file():
        raise _problem(file, where, f"there is no file {name!r} in {folder}")
    return beside


def _problem(file: Path, where: str, what: str) -> RecipeError:
    return RecipeError(f"{file}: 1 problem", problems=[f"{BASE} ({where}): {what}"])


def _replaced(values: Mapping[str, Any], changes: Mapping[str, Any], path: KeyPath) -> list[KeyPath]:
    """Returns the paths of the values that `changes` replaces whole."""
    replaced: list[KeyPath] = []
    for key, change in changes.items():
        old = values.get(key)
        if isinstance(old, Mapping) and isinstance(change, Mapping):
            replaced += _replaced(old, change, (*path, key))
        else:
            replaced.append((*path, key))
    return replaced
