"""The `risctl` entry point: which subcommands there are, and how their errors become exit codes.

Nothing here or at the top of a subcommand's file imports torch, spaCy or transformers: `risctl --help` stays fast.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from risctl import __version__
from risctl.cli import cache, compare, console, data, doctor, recipes
from risctl.cli.eval import command as evaluation
from risctl.cli.import_ import app as import_
from risctl.cli.predict import command as predict
from risctl.cli.prepare import app as prepare
from risctl.cli.train import command as train
from risctl.cli.visualize import app as visualize
from risctl.cli.zeroshot import app as zeroshot
from risctl.errors import RisctlError

EXIT_CODES = (
    "Exit codes: 0 ok, 1 training failed, 2 usage, 3 recipe, 4 data, 5 environment, 6 checkpoint, 130 interrupted."
)

# As the help lists them; Typer by itself puts groups such as `prepare` after plain commands.
ORDER = (
    "prepare",
    "data",
    "train",
    "eval",
    "compare",
    "predict",
    "visualize",
    "zeroshot",
    "recipes",
    "import",
    "cache",
    "doctor",
)


class Commands(TyperGroup):
    """The subcommands, in the order of the work."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the subcommands."""
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    name="risctl",
    cls=Commands,
    help="Referring image segmentation: give it a picture and a phrase, get the mask.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MAIN = "The main job"
RECIPES = "Recipes and checkpoints"
HELP = "Help"

app.add_typer(prepare.app, name="prepare", rich_help_panel=MAIN)
app.add_typer(data.app, name="data", rich_help_panel=MAIN)
app.command("train", cls=train.TrainCommand, epilog=train.EXAMPLE, rich_help_panel=MAIN)(train.train_command)
app.command("eval", epilog=evaluation.EXAMPLE, rich_help_panel=MAIN)(evaluation.evaluate_model)
app.command("compare", epilog=compare.EXAMPLE, rich_help_panel=MAIN)(compare.compare)
app.command("predict", epilog=predict.EXAMPLE, rich_help_panel=MAIN)(predict.predict)
app.add_typer(zeroshot.app, name="zeroshot", rich_help_panel=MAIN)
app.add_typer(visualize.app, name="visualize", rich_help_panel=MAIN)
app.add_typer(recipes.app, name="recipes", rich_help_panel=RECIPES)
app.add_typer(import_.app, name="import", rich_help_panel=RECIPES)
app.add_typer(cache.app, name="cache", rich_help_panel=HELP)
app.command("doctor", epilog="Example: risctl doctor --json", rich_help_panel=HELP)(doctor.doctor)


def _version(asked: bool) -> None:
    if asked:
        print(f"risctl {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Referring image segmentation: give it a picture and a phrase, get the mask."""


def main() -> None:
    """Run the command line; every known error is one line on stderr and its documented exit code."""
    # On a busy machine libgomp's threads spin some 14 ms at every barrier for one that waits for a core, which makes
    # two threads ten times slower than one. Before torch is loaded this shortens it to some 0.1 ms.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    try:
        app(prog_name="risctl")
    except RisctlError as error:
        console.fail(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.fail("interrupted")
        sys.exit(130)
    except SystemExit as leaving:
        # Typer turns Ctrl-C into this code by itself, and says nothing.
        if leaving.code == 130:
            console.fail("interrupted")
        raise
