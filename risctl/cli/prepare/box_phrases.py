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
    layouts: Annotated[
        Path | None,
        typer.Option(
            "--layouts",
            help="An .npz of all boxes of COCO's pictures (image_id, cls80, cxcywh): no phrases, these are generated.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Pictures of --layouts, drawn at random.")] = 30_000,
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
    """Write expressions of RefCOCO or ReferItGame with all boxes of their pictures, or layouts alone."""
    from risctl.data.box_grounding.files import write_box_grounding
    from risctl.data.box_grounding.samples import BoxGroundingSample, ImageBoxes, chance_accuracy
    from risctl.data.datasets.coco_boxes import read_coco_boxes
    from risctl.data.datasets.coco_phrases.generate import read_ids
    from risctl.data.datasets.refcoco_boxes import evaluation_images, read_referitgame, read_train_sample
    from risctl.errors import UsageError

    sources = {"refcoco": refcoco_sample, "referitgame": referitgame, "coco": layouts}
    named = [name for name, source in sources.items() if source is not None]
    if len(named) != 1:
        raise UsageError("name one source: --refcoco-sample DIR, --referitgame DIR or --layouts FILE")
    name = named[0]
    path = check_file(out or data_root / f"{name}-boxes.jsonl", overwrite=overwrite, inputs=[exclude])
    samples: list[BoxGroundingSample] = []
    without_phrases: list[ImageBoxes] = []
    with console.quiet_if(quiet):
        away = set() if keep_away is None else evaluation_images(keep_away)
        away |= set() if exclude is None else set(read_ids(exclude))
        if refcoco_sample is not None:
            samples = read_train_sample(refcoco_sample, exclude=away)
        elif layouts is not None:
            without_phrases = read_coco_boxes(layouts, exclude=away, limit=limit)
        elif referitgame is not None:
            samples = [one for split in splits.split(",") for one in read_referitgame(referitgame, split=split)]
        pictures = write_box_grounding(path, samples, layouts=without_phrases)
    chance = chance_accuracy(samples)
    about = f"the boxes of {pictures:,} pictures"
    counted = f"{len(samples):,} phrases about {about}; by chance {chance:.1%}" if samples else f"{about}, no phrases"
    text = f"{counted}\nwrote {path}"
    data = {"file": str(path), "phrases": len(samples), "pictures": pictures, "chance": round(chance, 4)}
    console.result(text, data=data, as_json=as_json)
