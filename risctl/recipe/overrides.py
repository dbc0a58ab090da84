"""Applies overrides from the command line to a recipe: `optim.lr=3e-4 data.batch_size=16 ~data.augment`.

`key=value` sets a key, the value read as YAML; `~key` removes the key, so that its default applies again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from risctl.recipe import document
from risctl.recipe.keys import Key, in_yaml, suggest

Path = tuple[str, ...]

_MOST_PARTS = 20


def apply_overrides(
    values: dict[str, Any], overrides: Sequence[str], *, known: Mapping[Path, Key], origins: dict[Path, str]
) -> list[str]:
    """Applies overrides in order, in place.

    An unknown key that is set is no problem here: validation reports it with all the others.

    Args:
        values: The recipe's values.
        overrides: `key=value` or `~key` each.
        known: The keys of the schema.
        origins: Where each key was given, updated as well.

    Returns:
        The problems, one line each.
    """
    problems = []
    for text in overrides:
        problem = _remove(values, text, known, origins) if text.startswith("~") else _set(values, text, known, origins)
        if problem:
            problems.append(f"{_shown(text)}: {problem}")
    return problems


def _shown(text: str) -> str:
    return f"override {text if len(text) <= 100 else f'{text[:97]}...'!r}"


def _split(dotted: str, known: Mapping[Path, Key]) -> Path:
    """Splits at dots; below a mapping with free keys the rest is one key (`optim.multipliers.visual.stem`)."""
    parts = tuple(dotted.split("."))
    for length in range(1, len(parts) - 1):
        key = known.get(parts[:length])
        if key and key.item is not None:
            return (*parts[:length], ".".join(parts[length:]))
    return parts


def _set(values: dict[str, Any], text: str, known: Mapping[Path, Key], origins: dict[Path, str]) -> str | None:
    dotted, equals, plain = text.partition("=")
    path = _split(dotted.strip(), known)
    if not equals or not all(path):
        return "expected key=value or ~key"
    if len(path) > _MOST_PARTS:
        return f"expected a key of at most {_MOST_PARTS} parts, got {len(path):,}"
    try:
        value, _ = document.read(plain)
    except document.DocumentError as error:
        return f"the value is not YAML ({error.problems[0][1]}); quote it if it is text"
    section = values
    for depth, part in enumerate(path[:-1], start=1):
        inner = section.get(part)
        if inner is None:
            inner = section[part] = {}
        if not isinstance(inner, dict):
            return f"{'.'.join(path[:depth])} is not a section; the recipe has {in_yaml(inner)} there"
        section = inner
    section[path[-1]] = value
    _forget(path, origins)
    origins[path] = _shown(text)
    return None


def _remove(values: dict[str, Any], text: str, known: Mapping[Path, Key], origins: dict[Path, str]) -> str | None:
    path = _split(text[1:].strip(), known)
    if "=" in text or not all(path):
        return "expected ~key, without a value"
    section: Any = values
    for part in path[:-1]:
        section = section.get(part) if isinstance(section, dict) else None
    present = isinstance(section, dict) and path[-1] in section
    if not present and path not in known:
        meant = suggest(path, known)
        hint = f"; did you mean ~{'.'.join(meant.path)}?" if meant else ""
        return f"unknown key {'.'.join(path):.200}{hint}"
    if present:
        del section[path[-1]]
        _forget(path, origins)
        origins[path] = _shown(text)
    return None


def _forget(path: Path, origins: dict[Path, str]) -> None:
    for known in [origin for origin in origins if origin[: len(path)] == path]:
        del origins[known]
