"""`risctl prepare coco-phrases`: referring expressions for the pictures of any COCO instance file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption, RootOption
from risctl.cli.storing import (
    SHARES,
    LinkOption,
    MissingOption,
    OverwriteOption,
    SharesOption,
    free_place,
    out_option,
    split_shares,
    tell,
    write,
)

EPILOG = "Example: risctl prepare coco-phrases --instances instances_val2017.json --images val2017 --seed 0"


def coco_phrases(
    instances: Annotated[
        Path, typer.Option("--instances", help="A COCO instance file (instances_*.json).", show_default=False)
    ],
    images: Annotated[Path, typer.Option("--images", help="The folder of its pictures.", show_default=False)],
    out: Annotated[Path | None, out_option("coco-phrases.h5")] = None,
    exclude: Annotated[
        Path | None,
        typer.Option("--exclude", help="A text file of picture ids to leave out.", show_default=False),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            "--held-out",
            help="A text file of picture ids for the split test; --splits shares the rest.",
            show_default=False,
        ),
    ] = None,
    splits: SharesOption = SHARES,
    seed: Annotated[int, typer.Option("--seed", help="Decides phrases and splits.")] = 0,
    link: LinkOption = False,
    allow_missing: MissingOption = False,
    overwrite: OverwriteOption = False,
    data_root: RootOption = Path("data"),
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make unambiguous phrases for COCO pictures: kind, colour, size, place, order, relation, several, none."""
    from risctl.data.datasets.coco_phrases.generate import make_coco_phrases, read_ids

    with console.quiet_if(quiet):
        place = free_place(out or data_root / "coco-phrases.h5", overwrite=overwrite)
        with console.counting("phrases") as advance:
            dataset = make_coco_phrases(
                instances,
                images=images,
                seed=seed,
                shares=split_shares(splits),
                exclude=read_ids(exclude) if exclude is not None else (),
                held_out=read_ids(held_out) if held_out is not None else (),
                on_missing="drop" if allow_missing else "refuse",
                progress=advance,
            )
        tell(write(dataset, place, link=link), as_json=as_json)
