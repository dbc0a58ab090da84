"""Reads the shipped ablations: rows of the papers' tables, as changes of a recipe or options of `risctl zeroshot`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from risctl.errors import RecipeError
from risctl.recipe.ablation import AblationSection
from risctl.recipe.base import BASE, parse_recipe_file
from risctl.recipe.load import find_recipe
from risctl.recipe.problems import problems_of
from risctl.recipe.shipped import shipped_ablations
from risctl.section import Section

_ABOUT = ("name", "description", "ablation", BASE)


class ZeroshotSettings(Section):
    """A file of options of `risctl zeroshot eval` and `predict`, for methods that are not trained."""

    name: str = Field(min_length=1, max_length=100, description="Name of the file.")
    description: str = Field(default="", max_length=500, description="One line of what it is.")
    ablation: AblationSection | None = Field(default=None, description="The row of a paper's table; null: none.")
    zeroshot: dict[str, Any] = Field(description="Options by their names, with _ in place of -.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """One row of a paper's table.

    Attributes:
        name: Name of the file, without its ending.
        file: The file.
        base: The recipe that it changes; `risctl zeroshot eval` where nothing is trained.
        changes: Dotted keys, or options, and their values in this row.
        section: What the row is.
    """

    name: str
    file: Path
    base: str
    changes: Mapping[str, Any]
    section: AblationSection

    def to_dict(self) -> dict[str, Any]:
        """Returns the row as JSON values."""
        return {
            "name": self.name,
            **self.section.model_dump(mode="json"),
            "base": self.base,
            "settings": dict(self.changes),
            "file": str(self.file),
        }


def ablations() -> list[Ablation]:
    """Returns the shipped ablations by paper and table, in the order of their names.

    Raises:
        RecipeError: A file is not one.
    """
    rows = [_read(name, file) for name, file in shipped_ablations().items()]
    return sorted(rows, key=lambda row: (row.section.paper, row.section.table, _natural(row.name)))


def read_zeroshot_settings(path_or_name: str | Path) -> ZeroshotSettings:
    """Reads a file of options of `risctl zeroshot`, given by its path or its shipped name.

    Raises:
        RecipeError: There is no such file, or it is a recipe or invalid; with all problems at once.
    """
    file = find_recipe(path_or_name)
    values, lines = parse_recipe_file(file)
    if not isinstance(values, Mapping) or "zeroshot" not in values:
        raise RecipeError(f"{file} holds no options of `risctl zeroshot`: expected a key `zeroshot:` with them")
    try:
        return ZeroshotSettings.model_validate(values)
    except ValidationError as error:
        origins = {path: f"line {line}" for path, line in lines.items()}
        schema = ZeroshotSettings.model_json_schema()
        problems = problems_of(error, schema=schema, values=values, origins=origins)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise RecipeError(f"{file}: {count}", problems=problems) from None


def is_zeroshot_settings(file: Path) -> bool:
    """Returns whether a file holds options of `risctl zeroshot`. Raises `RecipeError` if it is no YAML."""
    values, _ = parse_recipe_file(file)
    return isinstance(values, Mapping) and "zeroshot" in values


def _read(name: str, file: Path) -> Ablation:
    values, _ = parse_recipe_file(file)
    if not isinstance(values, Mapping) or not isinstance(values.get("ablation"), Mapping):
        raise RecipeError(f"{file} is no ablation: expected a section `ablation:`")
    try:
        section = AblationSection.model_validate(values["ablation"])
    except ValidationError as error:
        problems = problems_of(error, schema=AblationSection.model_json_schema(), values=values["ablation"], origins={})
        raise RecipeError(f"{file}: ablation", problems=problems) from None
    given = values.get("zeroshot", {key: value for key, value in values.items() if key not in _ABOUT})
    return Ablation(
        name=name,
        file=file,
        base=str(values.get(BASE, "risctl zeroshot eval")),
        changes=dict(_leaves(given, ())),
        section=section,
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Returns a key by which names with numbers are in the order of the numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _leaves(values: Any, path: tuple[str, ...]) -> list[tuple[str, Any]]:
    if not isinstance(values, Mapping) or not values:
        return [(".".join(path), values)]
    return [leaf for key, value in values.items() for leaf in _leaves(value, (*path, str(key)))]
