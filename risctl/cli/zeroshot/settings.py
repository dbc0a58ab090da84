"""Reads the options of `risctl zeroshot` from a file, checked as those of the command line are."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args, get_type_hints

from risctl.errors import RecipeError, nearest


def read_settings(path_or_name: str, choices: type) -> dict[str, Any]:
    """Returns the options in a file by their names.

    Args:
        path_or_name: The file, or the name of a shipped one.
        choices: The dataclass of the options; each field is annotated with a type and a `typer.Option`.

    Raises:
        RecipeError: There is no such file, or it has unknown options or values; with all problems at once.
    """
    from pydantic import TypeAdapter, ValidationError

    from risctl.recipe.ablations import read_zeroshot_settings
    from risctl.recipe.keys import in_yaml

    settings = read_zeroshot_settings(path_or_name)
    hints = get_type_hints(choices, include_extras=True)
    known = [field.name for field in fields(choices) if field.name != "settings"]
    found: dict[str, Any] = {}
    problems = []
    for name, value in settings.zeroshot.items():
        if name not in known:
            match = nearest(name, known)
            problems.append(f"zeroshot.{name}: unknown option" + (f"; did you mean {match}?" if match else ""))
            continue
        kind, option = get_args(hints[name])[:2]
        try:
            found[name] = TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            problems.append(f"zeroshot.{name}: {error.errors(include_url=False)[0]['msg']}; got {in_yaml(value)}")
            continue
        low, high = option.min, option.max
        if isinstance(found[name], (int, float)) and (
            (low is not None and found[name] < low) or (high is not None and found[name] > high)
        ):
            bounds = f"from {low} to {high}" if high is not None else f"of at least {low}"
            problems.append(f"zeroshot.{name}: expected a number {bounds}; got {in_yaml(value)}")
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise RecipeError(f"{path_or_name}: {count}", problems=problems)
    return found
