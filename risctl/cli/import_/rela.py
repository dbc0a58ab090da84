"""`risctl import rela`: converts a published ReLA into a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.import_.out_option import OutOption, claim
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

EXAMPLE = "Example: risctl import rela gres_swin_base.pth --out rela-swin-b.safetensors"


def import_rela(
    source: Annotated[Path, typer.Argument(help="The published PyTorch checkpoint (.pth).", show_default=False)],
    out: OutOption,
    tokenizer: Annotated[
        str, typer.Option(help="BERT's tokenizer: a vocab.txt, a folder with one, or a hub id.")
    ] = "bert-base-uncased",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a published ReLA into a checkpoint: Swin of any size and window, or ResNet, recognised by its keys.

    Only tensors are read from the file. The tokenizer is not in it; it is taken from a file, a folder or the hub and
    stored in the checkpoint, which then predicts on its own.
    """
    from risctl.checkpoints import import_rela as importing

    claim(out, source, tokenizer, overwrite=overwrite)
    with console.quiet_if(quiet):
        imported = importing.import_rela(source, out, tokenizer=tokenizer)
        visual = imported.model["visual"]
        window = f", window {visual['window']}" if "window" in visual else ""
        console.say(
            f"{imported.title}{window}: {imported.parameters:,} parameters, "
            f"{imported.model['regions']}x{imported.model['regions']} regions, {imported.tokens:,} tokens"
        )
        console.result(str(imported.path), data=imported.to_dict(), as_json=as_json)
