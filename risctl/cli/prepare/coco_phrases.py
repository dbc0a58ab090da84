"""`risctl prepare coco-phrases`: referring expressions for the pictures of any COCO instance file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption, RootOption
from risctl.cli.prepare.published import DryOption, YesOption, asked, stage
from risctl.cli.prepare.store_output import (
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
from risctl.errors import UsageError

EPILOG = "Example: risctl prepare coco-phrases --instances instances_val2017.json --images val2017 --seed 0"


def coco_phrases(
    instances: Annotated[
        Path | None,
        typer.Option(
            "--instances",
            help="A COCO instance file (instances_*.json). Without it train2014's is downloaded.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="The folder of its pictures.", show_default=False)
    ] = None,
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
    dry_run: DryOption = False,
    overwrite: OverwriteOption = False,
    data_root: RootOption = Path("data"),
    yes: YesOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make unambiguous phrases for COCO pictures: kind, colour, size, place, order, relation, several, none.

    Without --instances they are made for COCO train2014, which holds all pictures of RefCOCO, its val and test too:
    leave those out with --exclude if you mean to measure on them.
    """
    from risctl.data.datasets import COCO_PHRASES
    from risctl.data.datasets.coco_phrases.generate import make_coco_phrases, read_ids
    from risctl.data.download.fetching import Downloads, fetched_coco
    from risctl.data.prepare_plan import plan_set

    if (instances is None) != (images is None):
        raise UsageError("name the instance file with --instances and its pictures with --images, or neither")
    with console.quiet_if(quiet):
        place = free_place(out or data_root / "coco-phrases.h5", overwrite=overwrite)
        downloads = Downloads(root=data_root, agree=lambda question: yes or asked(question))
        if dry_run:
            plan = plan_set(
                COCO_PHRASES,
                out=place,
                source=instances,
                images=images,
                split_by=None,
                link=link,
                downloads=downloads,
            )
            console.result(plan.told(), data=plan.as_json(), as_json=as_json)
            return
        if instances is None or images is None:
            instances, images = fetched_coco(downloads, stage)
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
