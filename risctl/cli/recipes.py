"""`risctl recipes`: list the shipped recipes, show and copy them, check one's own, print the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, OverridesArgument, RecipeArgument, ShippedArgument

app = typer.Typer(
    help="List, show, copy and check recipes: the YAML files that define a training run.",
    epilog="Example: risctl recipes cp vlt-scenes mine.yaml && risctl recipes validate mine.yaml",
    no_args_is_help=True,
)


@app.command("ls", epilog="Example: risctl recipes ls")
def list_recipes(as_json: JsonOption = False) -> None:
    """List the shipped recipes."""
    from risctl.recipe.load import load_recipe, shipped_recipes

    rows = []
    for name, file in shipped_recipes().items():
        recipe = load_recipe(file)
        row = {"name": name, "system": recipe.model.system, "dataset": Path(recipe.data.store).stem}
        rows.append({**row, "description": recipe.description, "file": str(file)})
    shown = ("name", "system", "dataset", "description")
    console.result(_table([shown, *([row[key] for key in shown] for row in rows)]), data=rows, as_json=as_json)


@app.command("show", epilog="Example: risctl recipes show vlt-refcoco --full optim.lr=3e-4")
def show(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    full: Annotated[
        bool, typer.Option("--full", help="Every key with its default written out, after the changes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print a recipe, as its file has it or with every key written out."""
    from risctl.recipe.load import find_recipe, load_recipe

    read = load_recipe(recipe, overrides or ())
    if full or overrides or as_json:
        text = read.to_yaml()
    else:
        text = find_recipe(recipe).read_text(encoding="utf-8-sig")
    console.result(text.rstrip(), data=read.model_dump(mode="json"), as_json=as_json)


@app.command("cp", epilog="Example: risctl recipes cp vlt-scenes mine.yaml")
def copy(
    name: ShippedArgument,
    destination: Annotated[
        Path | None,
        typer.Argument(metavar="DEST", help="File or folder to write to; default: NAME.yaml here.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Overwrite a file that exists.")] = False,
) -> None:
    """Copy a shipped recipe, to edit it. Prints the path of the copy."""
    from risctl.errors import UsageError, unknown_name
    from risctl.files import replacing
    from risctl.recipe.shipped import shipped_recipes

    shipped = shipped_recipes()
    if name not in shipped:
        raise UsageError(unknown_name("recipe", name, shipped))
    target = destination or Path(f"{name}.yaml")
    if target.is_dir():
        target = target / f"{name}.yaml"
    if target.exists() and not force:
        raise UsageError(f"{target} exists; choose another name, or overwrite it with --force")
    with replacing(target) as part:
        part.write_bytes(shipped[name].read_bytes())
    console.result(str(target), data=None, as_json=False)


@app.command("validate", epilog="Example: risctl recipes validate mine.yaml optim.lr=3e-4 ~data.augment")
def validate(recipe: RecipeArgument, overrides: OverridesArgument = None, as_json: JsonOption = False) -> None:
    """Check a recipe, with changes if given; all problems are named at once (exit code 3)."""
    from risctl.errors import RecipeError
    from risctl.recipe.load import load_recipe

    try:
        read = load_recipe(recipe, overrides or ())
    except RecipeError as error:
        if as_json:
            message = str(error).partition("\n")[0]
            answer = {"valid": False, "message": message, "problems": list(error.problems)}
            console.result("", data=answer, as_json=True)
        raise
    answer = {"valid": True, "recipe": read.model_dump(mode="json")}
    console.result(f"valid: {read.name} ({read.model.system})", data=answer, as_json=as_json)


@app.command("schema", epilog="Example: risctl recipes schema > recipe.schema.json")
def schema() -> None:
    """Print the JSON Schema of recipes: every key, what it means, its range and its default."""
    from risctl.recipe.schema import recipe_json_schema

    console.result(json.dumps(recipe_json_schema(), indent=2, ensure_ascii=False), data=None, as_json=False)


def _table(rows: list[tuple[str, ...] | list[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
