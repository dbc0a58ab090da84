"""The single samples of a report: all in a list, the worst and the best with pictures."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from risctl.data.store.reader import Store
from risctl.evaluation.report import Report, Result
from risctl.language.tokens import words_of
from risctl.metrics.figures import sample_ious
from risctl.metrics.rows import Rows
from risctl.vision import rle
from risctl.vision.drawing.side_by_side import side_by_side
from risctl.visualization.report.samples import Groups, Listing, Pictured

MOST_LISTED = 20_000
"""Samples that a page lists: some 4 MB, which a browser opens at once."""

MOST_PICTURE_BYTES = 6_000_000
"""Of all pictures on a page together."""

_SIDE = 300
_QUALITY = 82


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a sample is drawn on: pixels uint8 (H, W, 3), target bool (H, W); note: to stand beside the picture."""

    pixels: np.ndarray
    target: np.ndarray
    note: str = ""


def listing_of(report: Report, *, most: int = MOST_LISTED) -> Listing:
    """Return the samples of `report`; of more than `most`, those of the lowest IoU under the first protocol."""
    fullest = max(report.results.values(), key=lambda result: len(result.rows))
    kept = _listed(report, fullest, most)
    rows = fullest.rows.subset(kept)
    place = {int(key): number for number, key in enumerate(rows.key)}
    ious: dict[str, list[float | None]] = {}
    for name, result in report.results.items():
        ious[name] = [None] * len(rows)
        for key, iou in zip(result.rows.key.tolist(), sample_ious(result.rows, result.protocol).tolist(), strict=True):
            if key in place:
                ious[name][place[key]] = round(iou, 5)
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
    return Listing(columns=columns, ious=ious, groups=groups, total=len(fullest.rows))


def worst_and_best(result: Result, *, each: int) -> tuple[list[int], list[int]]:
    """Return the keys of `each` worst and best samples of `result`, the most extreme first, no image twice in either.

    Of equally bad ones the system was surest of come first; the best are among those with a target, if there are any.
    """
    rows = result.rows
    iou = sample_ious(rows, result.protocol)
    sure = np.where(np.isfinite(rows.score), rows.score, 0.0)
    worst = np.lexsort((rows.key, -sure, iou))
    best = np.lexsort((rows.key, -sure, -iou))
    if rows.targeted.any():
        best = best[rows.targeted[best]]
    first = _one_an_image(rows, worst, each)
    taken = set(first)
    return first, _one_an_image(rows, np.array([row for row in best if rows.key[row] not in taken], dtype=int), each)


def picture_samples(
    report: Report,
    listing: Listing,
    store: Store,
    *,
    find: Callable[[Sequence[int]], Iterable[tuple[int, np.ndarray]]],
    look: Callable[[int], Looked] | None = None,
    each: int = 12,
    most_bytes: int = MOST_PICTURE_BYTES,
) -> list[Pictured]:
    """Return pictures of `each` worst and best samples under the first protocol.

    find: yields (row, bool mask (H, W)) of what the system finds for the sentences of these rows, since an evaluation
    keeps no masks; see `asking.masks_of`. look: returns the picture of a row, by default the stored one. Stops before
    the pictures exceed `most_bytes`. Raises `DataError` for a damaged store.
    """
    result = next(iter(report.results.values()))
    worst, best = worst_and_best(result, each=each)
    position = {key: number for number, key in enumerate(listing.columns["sample"])}
    wanted = [key for key in (*worst, *best) if key in position]
    look = look or partial(_stored, store)
    drawn = {
        key: _drawn(look(key), mask, position=position[key], kind="worst" if key in worst else "best")
        for key, mask in find(wanted)
    }
    found = []
    left = most_bytes
    # In turn, so that what does not fit is as much of the one as of the other.
    for key in sorted(wanted, key=lambda key: worst.index(key) if key in worst else best.index(key)):
        left -= len(drawn[key].jpeg)
        if left < 0:
            break
        found.append(drawn[key])
    return found


def _stored(store: Store, key: int) -> Looked:
    sentence = store.sentence(key)
    return Looked(pixels=store.pixels(sentence.image), target=rle.decode(store.mask(sentence.ref)))


def _drawn(looked: Looked, mask: np.ndarray, *, position: int, kind: str) -> Pictured:
    pair = side_by_side(looked.pixels, target=looked.target, predicted=mask, side=_SIDE)
    file = io.BytesIO()
    Image.fromarray(pair).save(file, "JPEG", quality=_QUALITY, optimize=True)
    notes = [looked.note] if looked.note else []
    notes += [] if looked.target.any() else ["no target"]
    notes += [] if mask.any() else ["nothing found"]
    return Pictured(
        position=position,
        kind=kind,
        jpeg=file.getvalue(),
        width=pair.shape[1],
        height=pair.shape[0],
        note=", ".join(notes),
    )


def _listed(report: Report, fullest: Result, most: int) -> np.ndarray:
    """Return the positions, ascending, of the rows of `fullest` that are listed."""
    rows = fullest.rows
    if len(rows) <= most:
        return np.arange(len(rows))
    first = next(iter(report.results.values()))
    known = dict(zip(first.rows.key.tolist(), sample_ious(first.rows, first.protocol).tolist(), strict=True))
    iou = np.array([known.get(key, np.inf) for key in rows.key.tolist()])
    best = np.flatnonzero(np.isin(rows.key, worst_and_best(first, each=100)[1]))[: most // 2]
    order = np.argsort(iou, kind="stable")
    others = order[~np.isin(order, best)][: most - len(best)]
    return np.sort(np.concatenate([best, others]))


def _one_an_image(rows: Rows, order: np.ndarray, most: int) -> list[int]:
    chosen: dict[int, int] = {}
    for row in order:
        if len(chosen) >= most:
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
        "targeted": [int(one) for one in rows.targeted],
    }
