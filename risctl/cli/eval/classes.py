"""`risctl eval --protocol zsi` and `gzsi`: evaluates detection by category."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from risctl.cli import console

if TYPE_CHECKING:
    import torch

    from risctl.checkpoints.loaded_model import LoadedModel
    from risctl.data.store.reader import Store


def evaluate_detector(
    loaded: LoadedModel,
    store: Store,
    *,
    split: str,
    generalised: bool,
    device: torch.device,
    limit: int | None,
    is_main: bool,
    as_json: bool,
) -> None:
    """Evaluates a detector and prints its figures, one a line; an undefined one is "-", null in JSON.

    Args:
        loaded: The checkpoint.
        store: The store.
        split: The split.
        generalised: Whether seen and unseen categories compete (GZSI) or only unseen ones are detected (ZSI).
        device: The device of this process.
        limit: The first so many images only.
        is_main: Whether this process prints; each of several evaluates a share.
        as_json: Whether the figures are printed as JSON.
    """
    from risctl.evaluation.instance_evaluator import evaluate_classes

    if is_main:
        console.say(f"{loaded.path} on {store.path}, split {split}, {device}")
    with console.counting("evaluate") as progress:
        report = evaluate_classes(
            loaded.system,
            store,
            split=split,
            generalised=generalised,
            limit=limit,
            progress=progress,
        )
    if not is_main:
        return
    protocol = "gzsi" if generalised else "zsi"
    objects = ", ".join(f"{count:,} objects of {part} categories" for part, count in report.instances.items())
    lines = [f"protocol {protocol}: masks, {report.images:,} images, {objects}, {report.detections:,} found"]
    lines += [f"{name:<22}{'-' if math.isnan(value) else f'{value:.2f}'}" for name, value in report.figures.items()]
    data = {
        "protocol": protocol,
        "split": split,
        "images": report.images,
        "things": report.instances,
        "found": report.detections,
        "figures": {name: None if math.isnan(value) else value for name, value in report.figures.items()},
    }
    console.result("\n".join(lines), data=data, as_json=as_json)
