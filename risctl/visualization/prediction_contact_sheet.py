"""What a model finds beside what was to be found, for some samples of a store, on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from risctl.data.store.reader import Store, TextField
from risctl.errors import DataError, UsageError
from risctl.evaluation.saved_rows import MeasuredRun
from risctl.inference.batched_inference import predicted_masks
from risctl.metrics.figures import ious
from risctl.metrics.overlaps import overlap_of_masks
from risctl.metrics.protocols import Protocol
from risctl.systems.base import System
from risctl.vision import rle
from risctl.vision.drawing.beside import beside
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import grid
from risctl.vision.drawing.palette import colour

_SIDE, _LETTERS = 300, 14


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnPredictions:
    """sheet: uint8 (H, W, 3); samples: those on it, as JSON values."""

    sheet: np.ndarray
    samples: list[dict[str, Any]]


def random_samples(keys: Sequence[int], *, count: int, seed: int) -> list[int]:
    """Return `count` of `keys`, chosen by `seed`, in their order."""
    return sorted(np.random.default_rng(seed).permutation(np.asarray(keys, dtype=np.int64))[:count].tolist())


def check_rows(run: MeasuredRun, store: Store, *, split: str, text_field: TextField) -> None:
    """Raise `UsageError` unless the rows of `run` are of this store, split and texts."""
    wanted = {"fingerprint": store.fingerprint[:12], "split": split, "text_field": text_field}
    for name, value in wanted.items():
        if run.origin.get(name) != value:
            raise UsageError(
                f"the rows {run.path} are of another {name} ({run.origin.get(name, 'unknown')}) than what is shown "
                f"({value}); write them with `risctl eval --rows`, or leave --rows out"
            )


def draw_predictions(
    system: System,
    store: Store,
    keys: Sequence[int],
    *,
    protocol: Protocol,
    text_field: TextField = "sent",
    title: str = "",
    columns: int = 2,
) -> DrawnPredictions:
    """Ask `system` for the sentences of rows `keys` and draw target and answer of each, in this order.

    IoUs are of the picture's own size, at the threshold of `protocol`. Raises `DataError` for a damaged store, or if
    there is nothing to show.
    """
    if not keys:
        raise DataError(f"{store.path} has no sample to show")
    masks = dict(predicted_masks(system, store, list(keys), text_field=text_field, threshold=protocol.threshold))
    panels, samples = [], []
    for key in keys:
        sentence = store.sentence(key)
        ref = store.ref(sentence.ref)
        target, found = rle.decode(store.mask(sentence.ref)), masks[key]
        one = overlap_of_masks(found, target)
        iou = float(ious(np.array([one.intersection]), np.array([one.union]), protocol)[0])
        remarks = [] if ref.annotations else ["no target"]
        remarks += [] if found.any() else ["nothing found"]
        reached = f"IoU {iou:.2f}" if ref.annotations else "" if found.any() else "right"
        told = ", ".join(part for part in (reached, *remarks, f"sample {key}", f"image {ref.image_id}") if part)
        text = sentence.text(text_field)
        pair = beside(store.pixels(sentence.image), target=target, found=found, side=_SIDE)
        captions = [Caption(text=f"“{text}”"), Caption(text=told)]
        panels.append(with_captions(pair, captions, size=_LETTERS, width=2 * _SIDE))
        samples.append(
            {
                "sample": key,
                "image_id": ref.image_id,
                "ref_id": ref.ref_id,
                "sentence_id": sentence.sentence_id,
                "text": text,
                "iou": iou,
                "targeted": bool(ref.annotations),
                "found": bool(found.any()),
            }
        )
    heading = [
        *([Caption(text=title)] if title else []),
        Caption(text="left: what was to be found", colour=colour(0)),
        Caption(text="right: what the model found", colour=colour(1)),
    ]
    return DrawnPredictions(sheet=grid(panels, columns=columns, heading=heading), samples=samples)
