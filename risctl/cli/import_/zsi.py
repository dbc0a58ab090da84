"""`risctl import zsi`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption

EXAMPLE = (
    "Example: risctl import zsi epoch_12.pth --split 48_17 --vocabulary GoogleNews-vectors-negative300.bin "
    "--words vocabulary_list.txt --out zsi.safetensors"
)
_SHOWN = 10


class Split(StrEnum):
    """COCO's published divisions into seen and unseen classes."""

    s48_17 = "48_17"
    s65_15 = "65_15"


def import_zsi(
    source: Annotated[Path, typer.Argument(help="The published weights (.pth).", show_default=False)],
    split: Annotated[Split, typer.Option(help="Which classes it was trained on.", show_default=False)],
    vocabulary: Annotated[
        str, typer.Option(help="Word vectors: word2vec, GloVe or fastText file, or a spaCy model.", show_default=False)
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The .safetensors file to write; default: as the weights, here.",
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(help="The list of the 4,717 words, one a line. Default: all of --vocabulary.", show_default=False),
    ] = None,
    class_vectors: Annotated[
        Path | None,
        typer.Option(
            help="The published class vectors, word_w2v_withbg_*.txt, for the unseen ones.", show_default=False
        ),
    ] = None,
    extra_words: Annotated[
        int, typer.Option(min=0, help="How many of the vectors' most frequent words can be asked for.")
    ] = 20_000,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a checkpoint of a published ZSI, with the vocabulary matrix that its file lacks.

    The matrix is made of any word vectors; those it was trained with are word2vec's of GoogleNews. Words without a
    vector are named and take no part.
    """
    from risctl.checkpoints import import_zsi

    with console.quiet_if(quiet):
        done = import_zsi.import_zsi(
            source,
            out or Path(f"{source.stem}.safetensors"),
            split=split.value,
            vocabulary=vocabulary,
            words=words,
            class_vectors=class_vectors,
            extra_words=extra_words,
        )
        console.say(f"ZSI: {done.parameters:,} parameters, {done.model['visual']['name']}, {done.words:,} words")
        if done.missing:
            more = f" and {len(done.missing) - _SHOWN:,} more" if len(done.missing) > _SHOWN else ""
            console.warn(f"{len(done.missing):,} words have no vector: {', '.join(done.missing[:_SHOWN])}{more}")
        written = {
            "path": str(done.path),
            "model": done.model,
            "words": done.words,
            "missing": list(done.missing),
            "parameters": done.parameters,
        }
        console.result(str(done.path), data=written, as_json=as_json)
