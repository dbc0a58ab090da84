"""`risctl visualize detections`: a sheet of what a model finds by class in a store's pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from risctl.cli import console
from risctl.cli.options import Device, DeviceOption, JsonOption, ModelOption, QuietOption
from risctl.cli.visualize.contact_sheets import OutOption, contact_sheet_path, write_contact_sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from risctl.data.store.reader import Store
    from risctl.systems.base import System

EXAMPLE = "Example: risctl visualize detections coco-zsi-48-17.h5 --model runs/zsi-coco-mini -n 12"


def detections(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Made by `risctl prepare`.", show_default=False)],
    model: ModelOption,
    split: Annotated[str, typer.Option("--split", "-s", help="A split of the store: val, test, …, or all.")] = "test",
    classes: Annotated[
        str | None,
        typer.Option(
            help='What to look for: "zebra, skateboard". Default: the classes of the checkpoint, else of the store.',
            show_default=False,
        ),
    ] = None,
    unseen: Annotated[bool, typer.Option("--unseen", help="Only the classes that a ZSI was not trained on.")] = False,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=200, help="How many pictures.")] = 12,
    most: Annotated[int, typer.Option("--most", min=1, max=100, help="Things drawn in a picture.")] = 8,
    min_score: Annotated[float, typer.Option(min=0.0, max=1.0, help="What the score of a thing must exceed.")] = 0.05,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the pictures, which are chosen at random.")] = 0,
    columns: Annotated[int, typer.Option("--columns", min=1, max=8, help="Pictures beside each other.")] = 2,
    out: OutOption = None,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw what a model detects by class beside the annotations of a store's pictures, on one contact sheet.

    With a ZSI checkpoint, seen and unseen classes are asked for each alone, and the best things of both are drawn.
    It prints the sheet's path; --json adds what was found.
    """
    from risctl.checkpoints.checkpoint import load_checkpoint
    from risctl.data.store.reader import Store
    from risctl.devices import pick_device
    from risctl.inference.batched_inference import detections_in_store
    from risctl.visualization.contact_sheet import random_samples
    from risctl.visualization.detection_contact_sheet import detection_contact_sheet

    with console.quiet_if(quiet), Store(store) as opened:
        path = contact_sheet_path(out, f"{store.stem}.{split}.detections.png")
        rows = random_samples([int(row) for row in opened.images(split)], count=count, seed=seed)
        place = pick_device(device.value)
        loaded = load_checkpoint(model, place)
        groups = _groups(loaded.system, opened, classes, unseen=unseen)
        drawn = detection_contact_sheet(
            opened,
            detections_in_store(loaded.system, opened, rows, groups, min_score=min_score),
            [name for names in groups for name in names],
            min_score=min_score,
            max_count=most,
            title=f"{loaded.path} on {opened.name}, split {split}: {len(rows)} pictures",
            columns=columns,
        )
        write_contact_sheet(drawn.pixels, path)
        told = {"model": str(loaded.path), "data": str(store), "split": split, "sheet": str(path)}
        console.result(str(path), data={**told, "pictures": drawn.entries}, as_json=as_json)


def _groups(system: System, store: Store, classes: str | None, *, unseen: bool) -> list[Sequence[str]]:
    from risctl.cli.predict.classes import names_of
    from risctl.errors import UsageError
    from risctl.systems.protocols import ZeroShotDetector

    divided = system.class_split if isinstance(system, ZeroShotDetector) else None
    if unseen and (classes is not None or divided is None):
        raise UsageError("--unseen asks a ZSI checkpoint for its own unseen classes; leave it out, or --classes")
    if classes is not None:
        return [names_of(classes)]
    if divided is None:
        return [list(store.categories.values())]
    return [divided.unseen] if unseen else [divided.seen, divided.unseen]
