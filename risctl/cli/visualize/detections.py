"""`risctl visualize detections`: draws detected beside annotated objects for images of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from risctl.cli import console
from risctl.cli.options import (
    Device,
    DeviceOption,
    JsonOption,
    ModelOption,
    OverwriteOption,
    QuietOption,
    SeedOption,
    SplitOption,
    StoreArgument,
)
from risctl.cli.visualize.contact_sheets import ContactSheetFile, OutOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from risctl.data.store.reader import Store
    from risctl.systems.base import System

EXAMPLE = "Example: risctl visualize detections coco-zsi-48-17.h5 --model runs/zsi-coco-mini -n 12"


def detections(
    store: StoreArgument,
    model: ModelOption,
    split: SplitOption = "test",
    classes: Annotated[
        str | None,
        typer.Option(
            help='The categories to detect: "zebra, skateboard". Default: those of the checkpoint, else of the store.',
            show_default=False,
        ),
    ] = None,
    unseen: Annotated[bool, typer.Option("--unseen", help="Only categories that a ZSI was not trained on.")] = False,
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=200, help="How many pictures are drawn.")] = 12,
    max_count: Annotated[int, typer.Option("--max-count", min=1, max=100, help="Detections per picture.")] = 8,
    min_score: Annotated[float, typer.Option(min=0.0, max=1.0, help="Only detections above this score.")] = 0.05,
    seed: SeedOption = 0,
    columns: Annotated[int, typer.Option("--columns", min=1, max=8, help="Pictures in a row.")] = 2,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = Device.auto,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Draw detected beside annotated objects for random pictures of a store, on one contact sheet.

    With a ZSI checkpoint, seen and unseen categories are detected separately, and the best of both are drawn. Prints
    the path of the sheet; --json adds the detections.
    """
    from risctl.checkpoints.loaded_model import load_checkpoint
    from risctl.data.store.reader import Store
    from risctl.devices import pick_device
    from risctl.inference.batched_inference import detections_in_store
    from risctl.visualization.contact_sheet import random_samples
    from risctl.visualization.detection_contact_sheet import detection_contact_sheet

    with console.quiet_if(quiet), Store(store) as opened:
        sheet = ContactSheetFile.claim(
            out, f"{store.stem}.{split}.detections.png", overwrite=overwrite, inputs=[store, model]
        )
        rows = random_samples([int(row) for row in opened.images(split)], count=count, seed=seed)
        loaded = load_checkpoint(model, pick_device(device.value))
        groups = _category_groups(loaded.system, opened, classes, unseen=unseen)
        drawn = detection_contact_sheet(
            opened,
            detections_in_store(loaded.system, opened, rows, groups, min_score=min_score),
            [name for names in groups for name in names],
            min_score=min_score,
            max_count=max_count,
            title=f"{loaded.path} on {opened.name}, split {split}: {len(rows)} pictures",
            columns=columns,
        )
        sheet.write(drawn.pixels)
        record = {"model": str(loaded.path), "data": str(store), "split": split, "sheet": str(sheet.path)}
        console.result(str(sheet.path), data={**record, "pictures": drawn.entries}, as_json=as_json)


def _category_groups(system: System, store: Store, classes: str | None, *, unseen: bool) -> list[Sequence[str]]:
    from risctl.cli.predict.classes import parse_names
    from risctl.errors import UsageError
    from risctl.systems.protocols import ZeroShotDetector

    divided = system.class_split if isinstance(system, ZeroShotDetector) else None
    if unseen and (classes is not None or divided is None):
        raise UsageError("--unseen detects the unseen categories of a ZSI checkpoint; leave out --unseen, or --classes")
    if classes is not None:
        return [parse_names(classes)]
    if divided is None:
        return [list(store.categories.values())]
    return [divided.unseen] if unseen else [divided.seen, divided.unseen]
