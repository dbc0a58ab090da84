"""Options that several subcommands share, so that they read the same everywhere."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Device(StrEnum):
    """Where to compute. `auto` takes CUDA, else MPS, else the CPU."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


DeviceOption = Annotated[Device, typer.Option("--device", help="Where to compute; auto: CUDA, else MPS, else CPU.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress or log lines on stderr.")]
ModelOption = Annotated[
    Path, typer.Option("--model", "-m", help="A run folder or a checkpoint file (.safetensors).", show_default=False)
]
AnyModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model",
        "-m",
        help="A run folder or a checkpoint file (.safetensors); default: the small model that comes with risctl.",
        show_default=False,
    ),
]


def complete_recipe(incomplete: str) -> list[str]:
    """Return what a shell offers for a recipe: shipped names, and the folders and YAML files under the cursor."""
    from risctl.recipe.shipped import shipped_recipes

    folder = Path(incomplete if incomplete.endswith(os.sep) else os.path.dirname(incomplete))  # noqa: PTH120  "a/" stays
    try:
        beside = sorted(one for one in folder.expanduser().iterdir() if not one.name.startswith("."))
    except OSError:
        beside = []
    start = incomplete[: incomplete.rfind(os.sep) + 1]
    files = [start + one.name for one in beside if one.suffix in (".yaml", ".yml")]
    folders = [start + one.name + os.sep for one in beside if one.is_dir()]
    return [one for one in (*shipped_recipes(), *files, *folders) if one.startswith(incomplete)]


def complete_shipped(incomplete: str) -> list[str]:
    """Return the names of shipped recipes that a shell offers."""
    from risctl.recipe.shipped import shipped_recipes

    return [name for name in shipped_recipes() if name.startswith(incomplete)]


RecipeArgument = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A recipe file, or the name of a shipped recipe.",
        autocompletion=complete_recipe,
        show_default=False,
    ),
]
ShippedArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="The name of a shipped recipe.", autocompletion=complete_shipped, show_default=False
    ),
]
OverridesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE|~KEY",
        help="Changes to the recipe: optim.lr=3e-4 sets, ~data.augment takes out.",
        show_default=False,
    ),
]
RootOption = Annotated[
    Path, typer.Option("--data-root", envvar="RISCTL_DATA", help="Where downloads and stores go unless named.")
]
