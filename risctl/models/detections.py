"""Detects by category with the finder of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from risctl.errors import UsageError, unknown_name
from risctl.models.networks import FoundImage
from risctl.models.nouns import coco_name
from risctl.models.registry import CLASSES, MODELS
from risctl.results import Detection
from risctl.vision import rle


def detections_of(network: Any, encoded: Any, names: Sequence[str], *, min_score: float, name: str) -> list[Detection]:
    """Returns the instances of categories in an image that `network` encoded, the highest score first.

    Args:
        network: A network.
        encoded: What its `encode` returned.
        names: The categories.
        min_score: Only instances that score above it are returned.
        name: What messages call the network.

    Raises:
        UsageError: The network is prompted by text only, or does not know a category.
    """
    labels: tuple[str, ...] | None = getattr(network, "labels", None)
    if labels is None:
        able = ", ".join(one for one, model in MODELS.items() if CLASSES in model.can)
        raise UsageError(f"{name} answers phrases only; categories are detected by {able}, and by ZSI checkpoints")
    for one in names:
        if coco_name(one) not in labels:
            raise UsageError(unknown_name("class", one, labels))
    found: FoundImage = encoded if isinstance(encoded, FoundImage) else encoded[0]
    wanted = {coco_name(one) for one in names}
    rows = [
        row
        for row, (label, score) in enumerate(zip(found.instances.names, found.instances.scores, strict=True))
        if label in wanted and score > min_score
    ]
    listed = []
    for row in rows:
        # One at a time, since masks have the size of the image.
        mask = found.draw([row])[0] > 0.5
        x1, y1, x2, y2 = map(float, found.instances.boxes[row])
        listed.append(
            Detection(
                name=found.instances.names[row],
                score=float(found.instances.scores[row]),
                box=(x1, y1, x2 - x1, y2 - y1),
                segmentation=rle.encode(mask),
            )
        )
    return listed
