"""`risctl prepare coco-zsi-48-17` and `coco-zsi-65-15`: COCO divided into seen and unseen classes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption, RootOption
from risctl.cli.prepare.store_output import (
    LinkOption,
    MissingOption,
    OverwriteOption,
    free_place,
    out_option,
    tell,
    write,
)

SPLITS = ("48-17", "65-15")


def epilog(split: str) -> str:
    """Return the example of a split's command."""
    return f"Example: risctl prepare coco-zsi-{split} --instances instances_train2014.json --images train2014"


def coco_zsi(split: str) -> Callable[..., None]:
    """Return the command of a split: they differ by name and help alone."""

    def command(
        instances: Annotated[
            Path, typer.Option("--instances", help="COCO's training instances (instances_*.json).", show_default=False)
        ],
        images: Annotated[Path, typer.Option("--images", help="The folder of their pictures.", show_default=False)],
        test_instances: Annotated[
            Path | None,
            typer.Option(
                "--test-instances",
                help="Instances to test on. Default: the training pictures that show an unseen class.",
                show_default=False,
            ),
        ] = None,
        test_images: Annotated[
            Path | None,
            typer.Option(
                "--test-images", help="The folder of the test pictures. Default: --images.", show_default=False
            ),
        ] = None,
        out: Annotated[Path | None, out_option("coco-zsi-SPLIT.h5")] = None,
        held_out: Annotated[
            float, typer.Option("--held-out", help="Share of training pictures kept as split val.")
        ] = 0.1,
        seed: Annotated[int, typer.Option("--seed", help="Decides which are held out.")] = 0,
        link: LinkOption = False,
        allow_missing: MissingOption = False,
        overwrite: OverwriteOption = False,
        data_root: RootOption = Path("data"),
        quiet: QuietOption = False,
        as_json: JsonOption = False,
    ) -> None:
        from risctl.data.datasets.coco_zsi import Pictures, make_coco_zsi

        with console.quiet_if(quiet):
            place = free_place(out or data_root / f"coco-zsi-{split}.h5", overwrite=overwrite)
            with console.counting("masks") as advance:
                dataset = make_coco_zsi(
                    split.replace("-", "_"),
                    Pictures(instances=instances, folder=images),
                    test=None
                    if test_instances is None
                    else Pictures(instances=test_instances, folder=test_images or images),
                    held_out=held_out,
                    seed=seed,
                    on_missing="drop" if allow_missing else "refuse",
                    progress=advance,
                )
            counted = {"images": "images", "refs": "classes in them"}
            tell(write(dataset, place, link=link), counted=counted, as_json=as_json)

    seen, unseen = split.split("-")
    command.__doc__ = (
        f"Divide COCO into {seen} seen and {unseen} unseen classes, as published.\n\n"
        "Training pictures show no unseen class. A sentence is a class's name, its target all things of the class."
    )
    return command
