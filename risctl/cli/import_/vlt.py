"""`risctl import vlt`: converts a published VLT into a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.import_.out_option import OutOption, claim
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

EXAMPLE = "Example: risctl import vlt best_map.h5 --out vlt.safetensors --vectors glove.840B.300d.zip"


def import_vlt(
    source: Annotated[Path, typer.Argument(help="The published Keras weights (.h5).", show_default=False)],
    out: OutOption,
    vectors: Annotated[
        str | None,
        typer.Option(help="Word vectors: a GloVe or word2vec file, or the name of a spaCy model.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="A store whose words the checkpoint must know.", show_default=False)
    ] = None,
    extra_words: Annotated[
        int, typer.Option(min=0, help="How many of the most frequent words of the vectors the checkpoint must know.")
    ] = 50_000,
    max_words: Annotated[
        int,
        typer.Option(min=1, max=200, help="Words read of an expression: 15 for RefCOCO and RefCOCO+, 20 for RefCOCOg."),
    ] = 15,
    queries: Annotated[
        int | None,
        typer.Option(min=1, help="The expected number of queries. Default: as in the file.", show_default=False),
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a published VLT (Keras h5) into a checkpoint. TensorFlow is not needed.

    The published file holds no word vectors: name those it was trained with, or GloVe's Common Crawl vectors, which are
    the same. The checkpoint then predicts on its own.
    """
    from risctl.checkpoints.import_vlt import import_vlt as convert

    claim(out, source, data, vectors, overwrite=overwrite)
    with console.quiet_if(quiet):
        if vectors is None:
            console.warn("without --vectors the checkpoint knows no words and is good for inspection only")
        imported = convert(
            source, out, queries=queries, max_words=max_words, vectors=vectors, extra_words=extra_words, data=data
        )
        console.say(
            f"VLT: {imported.parameters:,} parameters, {imported.model['queries']} queries, "
            f"input {imported.model['input_size']}, {imported.words:,} words"
        )
        record = {
            "path": str(imported.path),
            "model": imported.model,
            "words": imported.words,
            "parameters": imported.parameters,
        }
        console.result(str(imported.path), data=record, as_json=as_json)
