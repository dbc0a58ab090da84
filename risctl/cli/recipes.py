"""`risctl recipes`: lists, shows, copies and checks recipes and prints their schema."""

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


@app.command("ls", epilog="Example: risctl recipes ls; risctl recipes ls --paper step")
def list_recipes(
    paper: Annotated[
        str | None,
        typer.Option(
            "--paper",
            metavar="NAME",
            help="List the rows of a paper's ablation tables instead: step, vlt, referformer, zsi, global-local-clip.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the shipped recipes, or the rows of a paper's tables with its figures."""
    from risctl.recipe.load import load_recipe, shipped_recipes

    if paper is not None:
        _list_ablations(paper, as_json=as_json)
        return
    rows = []
    for name, file in shipped_recipes().items():
        recipe = load_recipe(file)
        row = {"name": name, "system": recipe.model.system, "dataset": Path(recipe.data.store).stem}
        rows.append({**row, "description": recipe.description, "file": str(file)})
    shown = ("name", "system", "dataset", "description")
    console.result(console.table([shown, *([row[key] for key in shown] for row in rows)]), data=rows, as_json=as_json)


def _list_ablations(paper: str, *, as_json: bool) -> None:
    from risctl.errors import UsageError, unknown_name
    from risctl.recipe.ablations import ablations
    from risctl.recipe.keys import in_yaml

    known = ablations()
    rows = [row for row in known if row.section.paper == paper]
    if not rows:
        raise UsageError(unknown_name("paper", paper, {row.section.paper for row in known}))
    shown = [("table", "row", "name", "on", "changes", "published")]
    for row in rows:
        changes = " ".join(f"{key}={in_yaml(value)}" for key, value in row.changes.items())
        section = row.section
        shown.append((section.table, section.row, row.name, row.base, changes, section.published or "not found"))
    console.result(console.table(shown), data=[row.to_dict() for row in rows], as_json=as_json)


@app.command("show", epilog="Example: risctl recipes show vlt-refcoco --full optim.lr=3e-4")
def show(
    recipe: RecipeArgument,
    overrides: OverridesArgument = None,
    full: Annotated[
        bool, typer.Option("--full", help="Write out every key, with defaults, after the changes.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print a recipe, as in its file or with every key written out."""
    from risctl.recipe.ablations import is_zeroshot_settings, read_zeroshot_settings
    from risctl.recipe.load import find_recipe, load_recipe

    file = find_recipe(recipe)
    if is_zeroshot_settings(file) and not (full or overrides):
        settings = read_zeroshot_settings(file)
        text = file.read_text(encoding="utf-8-sig")
        console.result(text.rstrip(), data=settings.model_dump(mode="json"), as_json=as_json)
        return
    read = load_recipe(recipe, overrides or ())
    if full or overrides or as_json:
        text = read.to_yaml()
    else:
        text = file.read_text(encoding="utf-8-sig")
    console.result(text.rstrip(), data=read.model_dump(mode="json"), as_json=as_json)


@app.command("cp", epilog="Example: risctl recipes cp vlt-scenes mine.yaml")
def copy(
    name: ShippedArgument,
    destination: Annotated[
        Path | None,
        typer.Argument(
            metavar="DEST", help="The file or folder to write. Default: NAME.yaml here.", show_default=False
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", "--force", "-f", help="Replace a file that is there already.")
    ] = False,
) -> None:
    """Copy a shipped recipe or ablation to edit it, and print the path of the copy."""
    from risctl.errors import UsageError, unknown_name
    from risctl.output_files import OutputFiles
    from risctl.recipe.shipped import shipped_ablations, shipped_recipes

    shipped = shipped_recipes() | shipped_ablations()
    if name not in shipped:
        raise UsageError(unknown_name("recipe", name, shipped))
    target = destination or Path(f"{name}.yaml")
    if target.is_dir():
        target = target / f"{name}.yaml"
    with OutputFiles(inputs=[shipped[name]], overwrite=overwrite).writing(target) as part:
        part.write_bytes(shipped[name].read_bytes())
    console.result(str(target), data=None, as_json=False)


@app.command("validate", epilog="Example: risctl recipes validate mine.yaml optim.lr=3e-4 ~data.augment")
def validate(recipe: RecipeArgument, overrides: OverridesArgument = None, as_json: JsonOption = False) -> None:
    """Check a recipe, after changes if any are given. All problems are listed at once (exit code 3)."""
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
    """Print the JSON Schema of recipe files: every key with its meaning, range and default, and `base`."""
    from risctl.recipe.file_schema import file_json_schema

    console.result(json.dumps(file_json_schema(), indent=2, ensure_ascii=False), data=None, as_json=False)
