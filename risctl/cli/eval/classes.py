"""`risctl eval --protocol zsi`, `gzsi`, `zsd` and `gzsd`: evaluates detection by category."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from risctl.cli import console

PROTOCOLS = ("zsi", "gzsi", "zsd", "gzsd")
"""Zero-shot instance segmentation and detection (of boxes); "g": seen and unseen categories compete."""

if TYPE_CHECKING:
    from typing import Literal

    import torch

    from risctl.checkpoints.loaded_model import LoadedModel
    from risctl.data.store.reader import Store


def evaluate_detector(
    loaded: LoadedModel,
    store: Store,
    *,
    split: str,
    protocol: str,
    device: torch.device,
    limit: int | None,
    beside: bool,
    is_main: bool,
    as_json: bool,
) -> None:
    """Evaluates a detector and prints its figures, one a line; an undefined one is "-", null in JSON.

    Args:
        loaded: The checkpoint.
        store: The store.
        split: The split.
        protocol: One of `PROTOCOLS`.
        device: The device of this process.
        limit: The first so many images only.
        beside: Whether the published figures stand beside.
        is_main: Whether this process prints; each of several evaluates a share.
        as_json: Whether the figures are printed as JSON.
    """
    from risctl.evaluation.instance_evaluator import evaluate_classes
    from risctl.evaluation.published.beside import Measured, Trained, beside_published

    of: Literal["segm", "bbox"] = "bbox" if protocol.endswith("zsd") else "segm"
    if is_main:
        console.say(f"{loaded.path} on {store.path}, split {split}, {device}")
    with console.counting("evaluate") as progress:
        report = evaluate_classes(
            loaded.system,
            store,
            split=split,
            generalised=protocol.startswith("g"),
            of=of,
            limit=limit,
            progress=progress,
        )
    if not is_main:
        return
    objects = ", ".join(f"{count:,} objects of {part} categories" for part, count in report.instances.items())
    compared = "boxes" if of == "bbox" else "masks"
    lines = [f"protocol {protocol}: {compared}, {report.images:,} images, {objects}, {report.detections:,} found"]
    lines += [f"{name:<22}{'-' if math.isnan(value) else f'{value:.2f}'}" for name, value in report.figures.items()]
    data: dict[str, Any] = {
        "protocol": protocol,
        "split": split,
        "images": report.images,
        "things": report.instances,
        "found": report.detections,
        "figures": {name: None if math.isnan(value) else value for name, value in report.figures.items()},
    }
    if beside:
        departures = () if limit is None else (f"the first {report.images:,} images",)
        published = beside_published(
            [Measured(protocol=protocol, figures=report.figures, departures=departures)],
            dataset=store.name,
            split_by=store.split_by,
            split=split,
            sentences=None,
            trained=Trained.of(loaded.recipe),
        )
        lines += ["", published.to_text()]
        data["published"] = published.to_dict()
    console.result("\n".join(lines), data=data, as_json=as_json)
