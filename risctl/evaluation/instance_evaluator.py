"""How well things of classes are found in a split: ZSI and GZSI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from risctl.data.store.reader import Store
from risctl.distributed import gather, rank_and_world_size
from risctl.errors import DataError, UsageError
from risctl.inference.encoded_image import encode, prepare
from risctl.metrics.zero_shot import gzsi_figures, zsi_figures
from risctl.results import Detection
from risctl.systems.base import System
from risctl.systems.protocols import ZeroShotDetector, as_detector
from risctl.vision import rle

Progress = Callable[[int, int | None], None]
_SCORE = 0.05  # published: what the score of a thing must exceed


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassReport:
    """figures in percent; images measured; things: annotated ones of seen and of unseen classes; found: in all."""

    figures: dict[str, float]
    images: int
    things: dict[str, int]
    found: int


def evaluate_classes(
    system: System,
    store: Store,
    *,
    split: str,
    generalised: bool,
    limit: int | None = None,
    progress: Progress | None = None,
) -> ClassReport:
    """Return the figures of `system` on the pictures of a split, on masks.

    Only unseen classes are asked for; with `generalised` the seen ones as well, each part with its own 100 things a
    picture. limit: only the first so many pictures. With several processes, each asks about a share of them. Raises
    `UsageError` if the system finds nothing by class, `DataError` if the store has not its classes.
    """
    if not isinstance(system, ZeroShotDetector):
        raise UsageError(f"{type(system).__name__} answers phrases; zsi and gzsi measure a ZSI checkpoint")
    classes = system.class_split
    ids = {name: number for number, name in store.categories.items()}
    lacking = [name for name in (*classes.seen, *classes.unseen) if name not in ids]
    if lacking:
        raise DataError(
            f"{store.path} has not the classes of this checkpoint: {len(lacking)} lack, such as {lacking[0]!r}"
        )
    seen, unseen = ({ids[name] for name in part} for part in (classes.seen, classes.unseen))
    rows = [int(row) for row in store.images(split)][:limit]
    parts = [classes.seen, classes.unseen] if generalised else [classes.unseen]
    rank, world = rank_and_world_size()
    own = found_things(system, store, rows[rank::world], parts, progress=progress)
    # In the order of the pictures, whoever found them: things of one score are ranked as they come.
    order = {row: number for number, row in enumerate(rows)}
    results = sorted((one for part in gather(own) for one in part), key=lambda one: order[one["image_id"]])
    truth = truth_of(store, rows)
    if generalised:
        figures = gzsi_figures(truth, results, seen=seen, unseen=unseen)
    else:
        figures = zsi_figures(truth, results, unseen=unseen)
    of = [one["category_id"] for one in truth["annotations"] if not one["iscrowd"]]
    return ClassReport(
        figures=figures,
        images=len(rows),
        things={"seen": sum(one in seen for one in of), "unseen": sum(one in unseen for one in of)},
        found=len(results),
    )


@torch.inference_mode()
def found_things(
    system: System,
    store: Store,
    rows: Sequence[int],
    parts: Sequence[Sequence[str]],
    *,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Return COCO's results, the pictures' rows as their ids, of what `system` finds of the classes of `parts`."""
    ids = {name: number for number, name in store.categories.items()}
    results: list[dict[str, Any]] = []
    detector = as_detector(system)
    for done, row in enumerate(rows, start=1):
        image = encode(system, prepare(system.preprocess, store.pixels(row)))
        found = detector.detect(image.features, parts, geometry=image.geometry, min_score=_SCORE)
        results.extend(_result(one, image=row, category=ids[one.name]) for one in found)
        if progress:
            progress(done, len(rows))
    return results


def truth_of(store: Store, rows: Sequence[int]) -> dict[str, Any]:
    """Return an instance file's content of the pictures `rows`, which are their ids."""
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
