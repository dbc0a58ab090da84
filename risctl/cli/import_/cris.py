"""`risctl import cris`: converts a published CRIS into a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.import_.out_option import OutOption, claim
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

EXAMPLE = "Example: risctl import cris best_model.pth --out cris-r50.safetensors"


def import_cris(
    source: Annotated[Path, typer.Argument(help="The published PyTorch checkpoint (.pth).", show_default=False)],
    out: OutOption,
    tokenizer: Annotated[
        str,
        typer.Option(help="CLIP's tokenizer: OpenAI's bpe_simple_vocab_16e6.txt.gz, a folder with it, or a hub id."),
    ] = "openai/clip-vit-base-patch32",
    max_words: Annotated[
        int,
        typer.Option(min=3, max=77, help="Tokens read of an expression: 17 for RefCOCO and RefCOCO+, 22 for RefCOCOg."),
    ] = 17,
    input_size: Annotated[int, typer.Option(min=64, max=2048, help="Side of the input, a multiple of 32.")] = 416,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a published CRIS into a checkpoint: any of CLIP's ResNets, recognised by its shapes.

    Only tensors are read from the file. The tokenizer is not in it; it is taken from a file, a folder or the hub and
    stored in the checkpoint, which then predicts on its own.
    """
    from risctl.checkpoints import import_cris as importing

    claim(out, source, tokenizer, overwrite=overwrite)
    with console.quiet_if(quiet):
        imported = importing.import_cris(source, out, tokenizer=tokenizer, max_words=max_words, input_size=input_size)
        console.say(
            f"{imported.title}: {imported.parameters:,} parameters, "
            f"input {imported.model['input_size']}, {imported.model['max_words']} of {imported.tokens:,} tokens"
        )
        console.result(str(imported.path), data=imported.to_dict(), as_json=as_json)
