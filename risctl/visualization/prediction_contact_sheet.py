"""Draws predicted masks beside the targets of a store's samples, on one contact sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from risctl.data.store.reader import Store, TextField
from risctl.errors import DataError, UsageError
from risctl.evaluation.saved_rows import MeasuredRun
from risctl.metrics.figures import ious
from risctl.metrics.overlaps import overlap_of_masks
from risctl.metrics.protocols import Protocol
from risctl.vision import rle
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import grid
from risctl.vision.drawing.palette import colour
from risctl.vision.drawing.side_by_side import side_by_side
from risctl.visualization.contact_sheet import ContactSheet

_SIDE, _FONT_SIZE = 300, 14


def check_rows(run: MeasuredRun, store: Store, *, split: str, text_field: TextField) -> None:
    """Raises `UsageError` unless the rows of `run` are of this store, split and text field."""
    expected = {"fingerprint": store.fingerprint[:12], "split": split, "text_field": text_field}
    for name, value in expected.items():
        if run.origin.get(name) != value:
            raise UsageError(
                f"the rows {run.path} are of another {name} ({run.origin.get(name, 'unknown')}) than what is shown "
                f"({value}); write them with `risctl eval --rows`, or leave --rows out"
            )


def prediction_contact_sheet(
    store: Store,
    keys: Sequence[int],
    masks: Mapping[int, np.ndarray],
    *,
    protocol: Protocol,
    text_field: TextField = "sent",
    title: str = "",
    columns: int = 2,
) -> ContactSheet:
    """Draws the target of each sample on the left, and the predicted mask on the right.

    Args:
        store: The store of the samples.
        keys: The rows of the sentences to show, in this order.
        masks: The predicted mask of each sentence, bool (H, W), by its row.
        protocol: How IoUs are computed, at the image's own size.
        text_field: The form of the sentences that is shown.
        title: First line of the heading.
        columns: Samples side by side.

    Raises:
        DataError: There is no sample to show, or the store is damaged.
    """
    if not keys:
        raise DataError(f"{store.path} has no sample to show")
    panels, entries = [], []
    for key in keys:
        sentence = store.sentence(key)
        ref, text = store.ref(sentence.ref), sentence.text(text_field)
        target, predicted = rle.decode(store.mask(sentence.ref)), masks[key]
        overlap = overlap_of_masks(predicted, target)
        iou = float(ious(np.array([overlap.intersection]), np.array([overlap.union]), protocol)[0])
        notes = [f"IoU {iou:.2f}" if ref.annotations else "" if predicted.any() else "right"]
        notes += [] if ref.annotations else ["no target"]
        notes += [] if predicted.any() else ["empty mask"]
        notes += [f"sample {key}", f"image {ref.image_id}"]
        pair = side_by_side(store.pixels(sentence.image), target=target, predicted=predicted, side=_SIDE)
        captions = [Caption(text=f"“{text}”"), Caption(text=", ".join(note for note in notes if note))]
        panels.append(with_captions(pair, captions, size=_FONT_SIZE, width=2 * _SIDE))
        entries.append(
            {
                "sample": key,
                "image_id": ref.image_id,
                "ref_id": ref.ref_id,
                "sentence_id": sentence.sentence_id,
                "text": text,
                "iou": iou,
                "targeted": bool(ref.annotations),
                "found": bool(predicted.any()),
            }
        )
    heading = [
        *([Caption(text=title)] if title else []),
        Caption(text="left: annotated", colour=colour(0)),
        Caption(text="right: predicted", colour=colour(1)),
    ]
    return ContactSheet(pixels=grid(panels, columns=columns, heading=heading), entries=entries)
