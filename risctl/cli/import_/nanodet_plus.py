"""`risctl import nanodet-plus`: converts NanoDet-Plus-m into the initial weights of mini's detector."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.import_.out_option import OutOption, claim
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

EXAMPLE = "Example: risctl import nanodet-plus nanodet-plus-m_416.param --out nanodet-plus.safetensors"


def import_nanodet_plus(
    source: Annotated[
        Path,
        typer.Argument(
            help="NanoDet-Plus-m's .param file in ncnn's format, with its .bin beside it.", show_default=False
        ),
    ],
    out: OutOption,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert NanoDet-Plus-m into the initial weights of mini's detector, for its `model.visual.weights`."""
    from risctl.checkpoints import import_backbone

    claim(out, source, overwrite=overwrite)
    with console.quiet_if(quiet):
        count = import_backbone.import_nanodet_plus(source, out)
        console.say(f"NanoDet-Plus-m: {count:,} parameters")
        console.result(str(out), data={"path": str(out), "numbers": count}, as_json=as_json)
