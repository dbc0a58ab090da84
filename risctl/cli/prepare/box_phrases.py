"""`risctl prepare box-phrases`: expressions with the boxes of their pictures, to train a box selector."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption, RootOption
from risctl.cli.prepare.store_output import check_file

EPILOG = "Example: risctl prepare box-phrases --refcoco-sample refcoco_train_sample --keep-away refcoco_eval"


def box_phrases(
    refcoco_sample: Annotated[
        Path | None,
        typer.Option("--refcoco-sample", help="The folder of RefCOCO's train sample.", show_default=False),
    ] = None,
    referitgame: Annotated[
        Path | None, typer.Option("--referitgame", help="The folder of ReferItGame's files.", show_default=False)
    ] = None,
    splits: Annotated[str, typer.Option("--splits", help="ReferItGame's splits, parted by commas.")] = "train,val",
    keep_away: Annotated[
        Path | None,
        typer.Option(
            "--keep-away",
            help="A folder of evaluation splits: nothing about any of their pictures is written.",
            show_default=False,
        ),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option("--exclude", help="A text file of further COCO picture ids to leave out.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write; default: DATA_ROOT/NAME-boxes.jsonl.", show_default=False),
    ] = None,
    overwrite: OverwriteOption = False,
    data_root: RootOption = Path("data"),
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the expressions of RefCOCO's train sample, or of ReferItGame, with all boxes of their pictures."""
    from risctl.data.box_grounding.files import write_box_grounding
    from risctl.data.box_grounding.samples import chance_accuracy
    from risctl.data.datasets.coco_phrases.generate import read_ids
    from risctl.data.datasets.refcoco_boxes import evaluation_images, read_referitgame, read_train_sample
    from risctl.errors import UsageError

    if (refcoco_sample is None) == (referitgame is None):
        raise UsageError("name one source: --refcoco-sample DIR or --referitgame DIR")
    name = "refcoco" if refcoco_sample is not None else "referitgame"
    path = check_file(out or data_root / f"{name}-boxes.jsonl", overwrite=overwrite, inputs=[exclude])
    with console.quiet_if(quiet):
        if refcoco_sample is not None:
            away = set() if keep_away is None else evaluation_images(keep_away)
            away |= set() if exclude is None else set(read_ids(exclude))
            samples = read_train_sample(refcoco_sample, exclude=away)
        elif referitgame is not None:
            samples = [one for split in splits.split(",") for one in read_referitgame(referitgame, split=split)]
        pictures = write_box_grounding(path, samples)
    chance = chance_accuracy(samples)
    text = f"{len(samples):,} phrases about the boxes of {pictures:,} pictures; by chance {chance:.1%}\nwrote {path}"
    data = {"file": str(path), "phrases": len(samples), "pictures": pictures, "chance": round(chance, 4)}
    console.result(text, data=data, as_json=as_json)
