"""`risctl eval --protocol zsi` and `gzsi`: things found by class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from risctl.cli import console

if TYPE_CHECKING:
    import torch

    from risctl.checkpoints.checkpoint import Loaded
    from risctl.data.store.reader import Store


def evaluate_found_classes(
    loaded: Loaded,
    store: Store,
    *,
    split: str,
    generalised: bool,
    place: torch.device,
    limit: int | None,
    is_first: bool,
    as_json: bool,
) -> None:
    """Measure, and print a figure a line, or all as JSON. A figure that nothing there decides is "-", null in JSON.

    Of several processes each measures a share, and the first tells.
    """
    from risctl.evaluation.instance_evaluator import evaluate_classes

    if is_first:
        console.say(f"{loaded.path} on {store.path}, split {split}, {place}")
    with console.counting("evaluate") as progress:
        report = evaluate_classes(
            loaded.system,
            store,
            split=split,
            generalised=generalised,
            limit=limit,
            progress=progress,
        )
    if not is_first:
        return
    protocol = "gzsi" if generalised else "zsi"
    things = ", ".join(f"{count:,} things of {part} classes" for part, count in report.things.items())
    lines = [f"protocol {protocol}: masks, {report.images:,} images, {things}, {report.found:,} found"]
    lines += [f"{name:<22}{'-' if math.isnan(value) else f'{value:.2f}'}" for name, value in report.figures.items()]
    data = {
        "protocol": protocol,
        "split": split,
        "images": report.images,
        "things": report.things,
        "found": report.found,
        "figures": {name: None if math.isnan(value) else value for name, value in report.figures.items()},
    }
    console.result("\n".join(lines), data=data, as_json=as_json)
