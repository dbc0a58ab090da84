"""`risctl import referformer`: converts a published ReferFormer into a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.import_.out_option import OutOption, claim
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

EXAMPLE = "Example: risctl import referformer r50_ytvos.pth --out referformer-r50.safetensors"


def import_referformer(
    source: Annotated[Path, typer.Argument(help="The published PyTorch checkpoint (.pth).", show_default=False)],
    out: OutOption,
    tokenizer: Annotated[
        str, typer.Option(help="RoBERTa's tokenizer: a folder with vocab.json and merges.txt, or a hub id.")
    ] = "roberta-base",
    new_classes: Annotated[
        bool, typer.Option("--new-classes", help="Start with new class heads (one class), for further training.")
    ] = False,
    a2d: Annotated[
        bool, typer.Option("--a2d", help="Predict as on A2D-Sentences: longest side 640, the centre frame of a clip.")
    ] = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a published ReferFormer into a checkpoint: ResNet, Swin or Video-Swin, recognised by its keys.

    Only tensors and the training arguments are read from the file. The tokenizer is not in it; it is taken from a
    folder or the hub and stored in the checkpoint, which then predicts on its own.
    """
    from risctl.checkpoints import import_referformer as importing

    claim(out, source, tokenizer, overwrite=overwrite)
    with console.quiet_if(quiet):
        imported = importing.import_referformer(source, out, tokenizer=tokenizer, new_classes=new_classes, a2d=a2d)
        console.say(
            f"{imported.title}: {imported.parameters:,} parameters, "
            f"{imported.model['queries']} queries, {imported.model['classes']} classes, {imported.tokens:,} tokens"
        )
        console.result(str(imported.path), data=imported.to_dict(), as_json=as_json)
