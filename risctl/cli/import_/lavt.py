"""`risctl import lavt`: converts a published LAVT or LAVT-One into a checkpoint."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.import_.out_option import OutOption, claim
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

EXAMPLE = "Example: risctl import lavt refcoco.pth --out lavt-refcoco.safetensors"


def import_lavt(
    source: Annotated[Path, typer.Argument(help="The published PyTorch checkpoint (.pth).", show_default=False)],
    out: OutOption,
    tokenizer: Annotated[
        str, typer.Option(help="BERT's tokenizer: a vocab.txt, a folder with one, or a hub id.")
    ] = "bert-base-uncased",
    mha: Annotated[
        str | None,
        typer.Option(
            help="Attention heads of the four stages, such as 1-2-4-8. Default: as the file's training arguments say, "
            "else 1-1-1-1.",
            show_default=False,
        ),
    ] = None,
    input_size: Annotated[
        int, typer.Option(min=32, max=2048, help="Side of the input in pixels, a multiple of 32.")
    ] = 480,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a published LAVT or LAVT-One into a checkpoint: Swin-T, -S, -B or -L, recognised by its shapes.

    Only tensors and the training arguments are read from the file. The tokenizer is not in it; it is taken from a file,
    a folder or the hub and stored in the checkpoint, which then predicts on its own.
    """
    from risctl.checkpoints import import_lavt as importing
    from risctl.errors import UsageError

    if mha is not None and not re.fullmatch(r"[1-9]\d?(-[1-9]\d?){3}", mha):
        raise UsageError(f"expected four numbers of heads such as 1-2-4-8, got --mha {mha}")
    heads = tuple(int(part) for part in mha.split("-")) if mha else None
    claim(out, source, tokenizer, overwrite=overwrite)
    with console.quiet_if(quiet):
        imported = importing.import_lavt(source, out, tokenizer=tokenizer, heads=heads, input_size=input_size)
        visual = imported.model["visual"]
        console.say(
            f"{imported.title}, window {visual['window']}: {imported.parameters:,} parameters, "
            f"fusion heads {imported.model['fusion_heads']}, {imported.tokens:,} tokens"
        )
        console.result(str(imported.path), data=imported.to_dict(), as_json=as_json)
