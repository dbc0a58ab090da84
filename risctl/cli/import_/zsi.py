"""`risctl import zsi`: converts a published ZSI into a checkpoint."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.import_.out_option import claim
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption

EXAMPLE = (
    "Example: risctl import zsi epoch_12.pth --split 48_17 --vocabulary GoogleNews-vectors-negative300.bin "
    "--words vocabulary_list.txt --out zsi.safetensors"
)
_SHOWN = 10


class Split(StrEnum):
    """COCO's published divisions into seen and unseen categories."""

    s48_17 = "48_17"
    s65_15 = "65_15"


def import_zsi(
    source: Annotated[Path, typer.Argument(help="The published weights (.pth).", show_default=False)],
    split: Annotated[Split, typer.Option(help="The division that it was trained on.", show_default=False)],
    vocabulary: Annotated[
        str,
        typer.Option(help="Word vectors: word2vec, GloVe or fastText, or a spaCy model.", show_default=False),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="The .safetensors file to write. Default: named after the weights, in the current folder.",
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(help="The 4,717 words, one per line. Default: all of --vocabulary.", show_default=False),
    ] = None,
    class_vectors: Annotated[
        Path | None,
        typer.Option(
            help="The published class vectors, word_w2v_withbg_*.txt, for the unseen categories.", show_default=False
        ),
    ] = None,
    extra_words: Annotated[
        int, typer.Option(min=0, help="How many of the most frequent words of the vectors can be detected.")
    ] = 20_000,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a published ZSI into a checkpoint, with the vocabulary matrix that its file lacks.

    The matrix is built from any word vectors; the published model was trained with word2vec's GoogleNews vectors.
    Words without a vector are listed and left out.
    """
    from risctl.checkpoints import import_zsi

    target = claim(
        out or Path(f"{source.stem}.safetensors"), source, words, class_vectors, vocabulary, overwrite=overwrite
    )
    with console.quiet_if(quiet):
        imported = import_zsi.import_zsi(
            source,
            target,
            split=split.value,
            vocabulary=vocabulary,
            words=words,
            class_vectors=class_vectors,
            extra_words=extra_words,
        )
        console.say(
            f"ZSI: {imported.parameters:,} parameters, {imported.model['visual']['name']}, {imported.words:,} words"
        )
        if imported.missing:
            more = f" and {len(imported.missing) - _SHOWN:,} more" if len(imported.missing) > _SHOWN else ""
            console.warn(
                f"{len(imported.missing):,} words have no vector: {', '.join(imported.missing[:_SHOWN])}{more}"
            )
        record = {
            "path": str(imported.path),
            "model": imported.model,
            "words": imported.words,
            "missing": list(imported.missing),
            "parameters": imported.parameters,
        }
        console.result(str(imported.path), data=record, as_json=as_json)
