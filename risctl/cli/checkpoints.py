"""`risctl checkpoints`: what can be done with checkpoints without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

app = typer.Typer(help="Average the weights of several checkpoints.", no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def checkpoints() -> None:
    """Average the weights of several checkpoints."""


@app.command(
    "average", epilog="Example: risctl checkpoints average runs/a runs/b --weights 0.65,0.35 --out mean.safetensors"
)
def average_command(
    models: Annotated[
        list[Path],
        typer.Argument(metavar="A B …", help="Run folders or checkpoint files of one model.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The checkpoint to write (.safetensors).")],
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="W,W,…",
            help="How much each counts, in their order; the sum is made 1. Default: all alike.",
            show_default=False,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Average the weights of checkpoints of one model, saves of one run or runs that began with the same weights.

    Of a run that keeps an average over its steps, that is taken. Checkpoints whose `model` section or words differ are
    refused. The average has no figures of its own yet: `risctl eval` measures it.
    """
    from risctl.checkpoints.averaging import average_checkpoints
    from risctl.checkpoints.checkpoint import checked_output
    from risctl.checkpoints.loaded_model import resolve_checkpoint
    from risctl.output_files import OutputFiles

    with console.quiet_if(quiet):
        shares = None if weights is None else _shares(weights)
        paths = [resolve_checkpoint(model) for model in models]
        outputs = OutputFiles(inputs=paths, overwrite=overwrite)
        outputs.claim(checked_output(out))
        average_checkpoints(paths, out=out, shares=shares)
        console.result(str(out), data={"checkpoint": str(out), "of": [str(path) for path in paths]}, as_json=as_json)


def _shares(text: str) -> list[float]:
    from risctl.errors import UsageError

    try:
        return [float(one) for one in text.split(",")]
    except ValueError:
        raise UsageError(f"expected numbers with commas between them for --weights, got {text!r}") from None
