"""`risctl label`: pre-annotates collections of pictures; a source right after it is labelled."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from risctl.cli.label import command, join, review

EXAMPLE = 'Example: risctl label photos --phrases "a cup; the red chair" --out labels'


class LabelCommands(TyperGroup):
    """The subcommands; what is none of them is a source, for `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts `run` before a source or an option of it."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=LabelCommands,
    no_args_is_help=True,
    help="Label a collection of pictures: rows of picture and phrase with score, box and mask.\n\nrisctl label SOURCE "
    "is risctl label run SOURCE.",
    epilog=EXAMPLE,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run", epilog=EXAMPLE.replace("label", "label run", 1))(command.label)
app.command("join", epilog="Example: risctl label join labels-1 labels-2 --out labels.parquet")(join.join)
app.add_typer(review.app, name="review")
