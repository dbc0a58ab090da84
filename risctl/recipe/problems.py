"""Words the problems of a recipe: for each its key, its line, what was expected and what was given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile
from typing import Any

from pydantic import ValidationError

from risctl.recipe.keys import Key, Schema, in_yaml, known_keys, resolve_path, suggest
from risctl.recipe.renamed import name_of_today

Path = tuple[str, ...]

MOST_PROBLEMS = 50
"""Problems that are listed in full: for each unknown key the nearest known one is looked for."""


def problems_of(error: ValidationError, *, schema: Schema, values: Any, origins: Mapping[Path, str]) -> list[str]:
    """Returns one line per problem, in the order of the file.

    Args:
        error: What pydantic raised.
        schema: The JSON Schema of recipes.
        values: The recipe's values.
        origins: Where each key was given, such as `line 3`.
    """
    known = known_keys(schema, values)
    found = []
    errors = error.errors(include_url=False)
    for problem in errors[:MOST_PROBLEMS]:
        if problem["type"] == "default_factory_not_called":
            continue  # the default depends on a key that is reported itself
        moved = problem.get("ctx", {}).get("path")
        location = tuple(takewhile(lambda part: isinstance(part, str), problem["loc"]))  # a list is reported whole
        path = tuple(moved.split(".")) if moved else resolve_path(schema, location)
        in_list = location != problem["loc"]
        value = _value_at(values, path) if moved or in_list else problem["input"]
        what = _what(problem, path=path, value=value, known=known, missing=problem["type"] == "missing" and not in_list)
        today = name_of_today(path, values) if problem["type"] == "extra_forbidden" else None
        if today is not None:
            what = f"renamed in risctl 0.2: write {today}"
        where, line = _where(path, origins)
        found.append((line, ".".join(path) or "the recipe", where, what))
    found.sort(key=lambda row: row[0])
    lines = [f"{dotted} ({where}): {what}" if where else f"{dotted}: {what}" for _, dotted, where, what in found]
    rest = len(errors) - MOST_PROBLEMS
    return [*dict.fromkeys(lines), *([f"and {rest:,} more problems"] if rest > 0 else [])]


def _where(path: Path, origins: Mapping[Path, str]) -> tuple[str, float]:
    """Returns where `path`, or else the nearest key around it, was given, and a number to sort by."""
    for length in range(len(path), 0, -1):
        origin = origins.get(path[:length])
        if origin:
            around = "" if length == len(path) else f"in {'.'.join(path[:length])}, "
            line = re.fullmatch(r"line (\d+)", origin)
            return around + origin, float(line[1]) if line else float("inf")
    beneath = [origin for one, origin in origins.items() if one[: len(path)] == path]
    return (beneath[0], float("inf")) if beneath else ("", -1.0)


def _what(error: Any, *, path: Path, value: Any, known: Mapping[Path, Key], missing: bool) -> str:
    if error["type"] == "extra_forbidden":
        meant = suggest(path, known)
        if meant is None:
            return "unknown key; `risctl recipes schema` lists all"
        return f"unknown key; did you mean {'.'.join(meant.path)}?{_default(meant)}"
    key = known.get(path)
    around = known.get(path[:-1])
    if missing:
        return f"missing; expected {key.expects}" if key else "missing"
    if error["type"] == "clash":
        expected = error["msg"]
    elif error["type"].startswith("union_tag"):
        expected = error["ctx"].get("expected_tags", "a known kind").replace("'", "")
        expected = f"{error['ctx']['discriminator'].strip(chr(39))}: one of {expected}"
    else:
        item = around.item if around else None
        expected = key.expects if key else item or error["msg"]
    text = " (text)" if isinstance(value, str) and re.fullmatch(r"[-+.\d][\d.eE+-]*|true|false|null", value) else ""
    return f"expected {expected:.300}; got {in_yaml(value)}{text}{_default(key)}"


def _default(key: Key | None) -> str:
    return f" (default: {key.default})" if key and key.default is not None else ""


def _value_at(values: Any, path: Path) -> Any:
    for part in path:
        values = values.get(part) if isinstance(values, Mapping) else None
    return values
