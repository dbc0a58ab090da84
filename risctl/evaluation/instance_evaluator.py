"""Evaluates the detection of named categories on a split: ZSI and GZSI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from risctl.data.store.reader import Store
from risctl.distributed import failing_together, gather, rank_and_world_size
from risctl.errors import DataError, UsageError
from risctl.inference.encoded_image import encode, prepare
from risctl.metrics.zero_shot import gzsi_figures, zsi_figures
from risctl.results import Detection
from risctl.systems.base import System
from risctl.systems.protocols import ZeroShotDetector, as_detector
from risctl.vision import rle

Progress = Callable[[int, int | None], None]
_SCORE = 0.05  # published: the score that a detection must exceed


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """An evaluation of detections.

    Attributes:
        figures: In percent.
        images: How many images were evaluated.
        instances: How many instances are annotated, of "seen" and of "unseen" categories.
        detections: How many detections there were.
    """

    figures: dict[str, float]
    images: int
    instances: dict[str, int]
    detections: int


def evaluate_classes(
    system: System,
    store: Store,
    *,
    split: str,
    generalised: bool,
    of: Literal["segm", "bbox"] = "segm",
    limit: int | None = None,
    progress: Progress | None = None,
) -> ClassReport:
    """Evaluates the detections of a system on the images of a split, by their masks or boxes.

    With several processes, each evaluates a share of the images.

    Args:
        system: A detector that was trained on the seen categories of a split of COCO.
        store: A store with the categories of that split.
        split: The split of images.
        generalised: Whether seen categories are detected as well as unseen ones, each group with its own 100 detections
            per image (GZSI); else only unseen ones are (ZSI).
        of: Whether masks (ZSI, GZSI) or boxes (ZSD, GZSD) are compared.
        limit: Evaluates the first so many images only.
        progress: Called with the numbers of images that are done and that there are.

    Raises:
        UsageError: The system detects nothing by category.
        DataError: The store lacks categories of the checkpoint.
    """
    if not isinstance(system, ZeroShotDetector):
        raise UsageError(f"{type(system).__name__} answers phrases; zsi and gzsi measure a ZSI checkpoint")
    classes = system.class_split
    ids = {name: number for number, name in store.categories.items()}
    lacking = [name for name in (*classes.seen, *classes.unseen) if name not in ids]
    if lacking:
        raise DataError(f"{store.path} lacks {len(lacking)} classes of this checkpoint, such as {lacking[0]!r}")
    seen, unseen = ({ids[name] for name in part} for part in (classes.seen, classes.unseen))
    rows = [int(row) for row in store.images(split)][:limit]
    groups = [classes.seen, classes.unseen] if generalised else [classes.unseen]
    rank, world = rank_and_world_size()
    with failing_together():
        assigned = detection_results(system, store, rows[rank::world], groups, progress=progress)
    # In the order of the images, whichever process detected them: detections of equal score are ranked as they come.
    order = {row: number for number, row in enumerate(rows)}
    results = sorted((one for part in gather(assigned) for one in part), key=lambda one: order[one["image_id"]])
    truth = truth_of(store, rows)
    if generalised:
        figures = gzsi_figures(truth, results, seen=seen, unseen=unseen, of=of)
    else:
        figures = zsi_figures(truth, results, unseen=unseen, of=of)
    there = [record["category_id"] for record in truth["annotations"] if not record["iscrowd"]]
    return ClassReport(
        figures=figures,
        images=len(rows),
        instances={"seen": sum(one in seen for one in there), "unseen": sum(one in unseen for one in there)},
        detections=len(results),
    )


@torch.inference_mode()
def detection_results(
    system: System,
    store: Store,
    rows: Sequence[int],
    groups: Sequence[Sequence[str]],
    *,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Returns detections as COCO's results, the images' rows as their ids.

    Args:
        system: A detector.
        store: The store.
        rows: Rows of images.
        groups: Groups of category names, each with its own limit of detections.
        progress: Called with the numbers of images that are done and that there are.
    """
    ids = {name: number for number, name in store.categories.items()}
    results: list[dict[str, Any]] = []
    detector = as_detector(system)
    for done, row in enumerate(rows, start=1):
        image = encode(system, prepare(system.preprocess, store.pixels(row)))
        found = detector.detect(image.features, groups, geometry=image.geometry, min_score=_SCORE)
        results.extend(_result(one, image=row, category=ids[one.name]) for one in found)
        if progress:
            progress(done, len(rows))
    return results


def truth_of(store: Store, rows: Sequence[int]) -> dict[str, Any]:
    """Returns the content of a COCO instance file for the images `rows`, with their rows as ids."""
    annotations = []
    for row in rows:
        for number in store.annotations_of(row):
            one = store.annotation(int(number))
            annotations.append(
                {
                    "id": int(number) + 1,  # pycocotools takes 0 for none
                    "image_id": row,
                    "category_id": one.category_id,
                    "bbox": list(one.box),
                    "area": rle.area(one.mask),
                    "iscrowd": int(one.crowd),
                    "segmentation": one.mask,
                }
            )
    images = [{"id": row, "height": store.image(row).height, "width": store.image(row).width} for row in rows]
    categories = [{"id": number, "name": name} for number, name in store.categories.items()]
    return {"images": images, "categories": categories, "annotations": annotations}


def _result(found: Detection, *, image: int, category: int) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": category,
        "bbox": list(found.box),
        "score": found.score,
        "segmentation": found.segmentation,
    }
