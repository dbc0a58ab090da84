"""Collects the samples of a report: all in a listing, the worst and the best with images."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from risctl.data.store.reader import Store
from risctl.evaluation.report import Report, Result
from risctl.evaluation.sample_image import SampleImage
from risctl.language.tokens import words_of
from risctl.metrics.figures import has_iou, sample_ious
from risctl.metrics.rows import Rows
from risctl.vision import rle
from risctl.vision.drawing.side_by_side import side_by_side
from risctl.visualization.report.samples import Groups, IllustratedSample, Listing

MAX_LISTED = 20_000
"""Samples that a page lists: some 4 MB, which a browser opens at once."""

MAX_IMAGE_BYTES = 6_000_000
"""The size of all images on a page together."""

_SIDE = 300
_QUALITY = 82


def listing_of(report: Report, *, max_count: int = MAX_LISTED) -> Listing:
    """Returns the samples of `report`; of more than `max_count`, those with the lowest IoU under the first protocol."""
    fullest = max(report.results.values(), key=lambda result: len(result.rows))
    kept = _listed(report, fullest, max_count)
    rows = fullest.rows.subset(kept)
    position = {int(key): number for number, key in enumerate(rows.key)}
    ious: dict[str, list[float | None]] = {}
    ranks: dict[str, list[float | None]] = {}
    for name, result in report.results.items():
        ious[name], ranks[name] = [None] * len(rows), [None] * len(rows)
        known = has_iou(result.rows, result.protocol)
        values = zip(result.rows.key, sample_ious(result.rows, result.protocol), known, strict=True)
        for key, iou, is_known in values:
            if int(key) in position:
                ranks[name][position[int(key)]] = round(float(iou), 5)
                ious[name][position[int(key)]] = round(float(iou), 5) if is_known else None
    groups = {}
    for breakdown, _ in fullest.breakdowns:
        members = [chosen[kept] for chosen in breakdown.groups.values()]
        of = [[number for number, own in enumerate(members) if own[row]] for row in range(len(rows))]
        groups[breakdown.name] = Groups(names=list(breakdown.groups), of=of)
    columns = _columns(rows)
    if report.videos:
        columns["video"] = [report.videos[image] for image in rows.image_id.tolist()]
        names = list(dict.fromkeys(columns["video"]))
        at = {name: number for number, name in enumerate(names)}
        groups["video"] = Groups(names=names, of=[[at[name]] for name in columns["video"]])
    return Listing(columns=columns, ious=ious, ranks=ranks, groups=groups, total=len(fullest.rows))


def worst_and_best(result: Result, *, each: int) -> tuple[list[int], list[int]]:
    """Returns the keys of the worst and of the best samples, the most extreme first, one per image.

    Of equally good or bad samples those with the higher score come first; the best are among those with a target, if
    there are any.

    Args:
        result: The result of one protocol.
        each: How many worst, and how many best.
    """
    rows = result.rows
    iou = sample_ious(rows, result.protocol)
    confidence = np.where(np.isfinite(rows.score), rows.score, 0.0)
    worst = np.lexsort((rows.key, -confidence, iou))
    best = np.lexsort((rows.key, -confidence, -iou))
    if rows.targeted.any():
        best = best[rows.targeted[best]]
    first = _one_per_image(rows, worst, each)
    others = [row for row in best if rows.key[row] not in set(first)]
    return first, _one_per_image(rows, np.array(others, dtype=int), each)


def image_samples(
    report: Report,
    listing: Listing,
    store: Store,
    *,
    masks_of: Callable[[Sequence[int]], Iterable[tuple[int, np.ndarray]]],
    image_of: Callable[[int], SampleImage] | None = None,
    each: int = 12,
    max_bytes: int = MAX_IMAGE_BYTES,
) -> list[IllustratedSample]:
    """Returns images of the worst and the best samples under the first protocol.

    Args:
        report: The evaluation.
        listing: The samples that are listed; only these get images.
        store: The store of the samples.
        masks_of: Yields (row, predicted mask, bool (H, W)) of the sentences of these rows, since an evaluation keeps no
            masks.
        image_of: Returns the image of a row; by default the stored one.
        each: How many worst, and how many best.
        max_bytes: The size of all images together.

    Raises:
        DataError: The store is damaged.
    """
    result = next(iter(report.results.values()))
    worst, best = worst_and_best(result, each=each)
    position = {key: number for number, key in enumerate(listing.columns["sample"])}
    keys = [key for key in (*worst, *best) if key in position]
    image_of = image_of or partial(_stored, store)
    drawn = {
        key: _drawn(image_of(key), mask, position=position[key], kind="worst" if key in worst else "best")
        for key, mask in masks_of(keys)
    }
    kept = []
    left = max_bytes
    # Worst and best in turn, so that as many of both are left out.
    for key in sorted(keys, key=lambda key: worst.index(key) if key in worst else best.index(key)):
        left -= len(drawn[key].jpeg)
        if left < 0:
            break
        kept.append(drawn[key])
    return kept


def _stored(store: Store, key: int) -> SampleImage:
    sentence = store.sentence(key)
    return SampleImage(pixels=store.pixels(sentence.image), target=rle.decode(store.mask(sentence.ref)))


def _drawn(image: SampleImage, mask: np.ndarray, *, position: int, kind: str) -> IllustratedSample:
    pair = side_by_side(image.pixels, target=image.target, predicted=mask, side=_SIDE)
    file = io.BytesIO()
    Image.fromarray(pair).save(file, "JPEG", quality=_QUALITY, optimize=True)
    notes = [image.note] if image.note else []
    notes += [] if image.target.any() else ["no target"]
    notes += [] if mask.any() else ["empty mask"]
    return IllustratedSample(
        position=position,
        kind=kind,
        jpeg=file.getvalue(),
        width=pair.shape[1],
        height=pair.shape[0],
        note=", ".join(notes),
    )


def _listed(report: Report, fullest: Result, max_count: int) -> np.ndarray:
    """Returns the positions, ascending, of the rows of `fullest` that are listed."""
    rows = fullest.rows
    if len(rows) <= max_count:
        return np.arange(len(rows))
    first = next(iter(report.results.values()))
    known = dict(zip(first.rows.key.tolist(), sample_ious(first.rows, first.protocol).tolist(), strict=True))
    iou = np.array([known.get(key, np.inf) for key in rows.key.tolist()])
    best = np.flatnonzero(np.isin(rows.key, worst_and_best(first, each=100)[1]))[: max_count // 2]
    order = np.argsort(iou, kind="stable")
    others = order[~np.isin(order, best)][: max_count - len(best)]
    return np.sort(np.concatenate([best, others]))


def _one_per_image(rows: Rows, order: np.ndarray, max_count: int) -> list[int]:
    chosen: dict[int, int] = {}
    for row in order:
        if len(chosen) >= max_count:
            break
        chosen.setdefault(int(rows.image_id[row]), int(rows.key[row]))
    return list(chosen.values())


def _columns(rows: Rows) -> dict[str, Sequence[Any]]:
    boundary = {"f": rows.boundary.round(5).tolist()} if np.isfinite(rows.boundary).all() else {}
    return boundary | {
        "sample": rows.key.tolist(),
        "text": rows.text.tolist(),
        "image": rows.image_id.tolist(),
        "ref": rows.ref_id.tolist(),
        "sentence": rows.sentence_id.tolist(),
        "words": [len(words_of(text)) for text in rows.text],
        "area": [round(area, 5) if np.isfinite(area) else None for area in rows.area.tolist()],
        "distractors": [
            one if one >= 0 and targeted else None
            for one, targeted in zip(rows.distractors.tolist(), rows.targeted, strict=True)
        ],
        "score": [round(score, 4) if np.isfinite(score) else None for score in rows.score.tolist()],
        "targeted": [int(flag) for flag in rows.targeted],
    }
