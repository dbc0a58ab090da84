"""`risctl import referformer`: published ReferFormer weights to a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption


def import_referformer(
    source: Annotated[Path, typer.Argument(help="The published PyTorch checkpoint (.pth).", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to write.", show_default=False)],
    tokenizer: Annotated[
        str, typer.Option(help="RoBERTa's tokenizer: a folder with vocab.json and merges.txt, or a hub id.")
    ] = "roberta-base",
    new_classes: Annotated[
        bool, typer.Option("--new-classes", help="Begin with new class heads (one class), to train on.")
    ] = False,
    a2d: Annotated[
        bool, typer.Option("--a2d", help="Predict as for A2D-Sentences: longest side 640, a clip's centre frame.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a checkpoint of a published ReferFormer: ResNet, Swin or Video-Swin, told from its keys.

    Only tensors and the training arguments are read of the file. The tokenizer is not in it, so it is taken from a
    folder or the hub and kept in the checkpoint, which then predicts unaided.
    """
    from risctl.checkpoints import import_referformer as importing

    with console.quiet_if(quiet):
        done = importing.import_referformer(source, out, tokenizer=tokenizer, new_classes=new_classes, a2d=a2d)
        console.say(
            f"ReferFormer {done.model['visual']['name']}: {done.parameters:,} parameters, "
            f"{done.model['queries']} queries, {done.model['classes']} classes, {done.tokens:,} tokens"
        )
        written = {
            "path": str(done.path),
            "model": done.model,
            "tokens": done.tokens,
            "parameters": done.parameters,
        }
        console.result(str(done.path), data=written, as_json=as_json)
