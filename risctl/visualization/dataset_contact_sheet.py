"""Draws images of a store with all that their expressions refer to, on one contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from risctl.data.store.clips import ClipStore, is_video_store
from risctl.data.store.reader import Store, TextField
from risctl.errors import DataError
from risctl.vision import rle
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import fit_image, grid
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import COLOURS, colour
from risctl.visualization.contact_sheet import ContactSheet

_CELL, _FONT_SIZE = 340, 14
# Little, so that what expressions call white is not blue on the sheet.
_TINT = 0.12
# Expressions listed per referred object; an image lists as many objects as there are colours.
_MAX_TEXTS = 3


def dataset_contact_sheet(
    store: Store, *, split: str, count: int = 24, seed: int = 0, text_field: TextField = "sent", columns: int = 4
) -> ContactSheet:
    """Draws images of a split with the refs of that split.

    Each referred object has a colour: its mask in the image and its expressions below; a hollow patch stands for an
    expression without a target. Of a video, the frame that shows most of the objects is drawn.

    Args:
        store: The store.
        split: One of its splits.
        count: How many images are drawn.
        seed: Chooses the images.
        text_field: The form of the expressions that is shown.
        columns: Images side by side.

    Raises:
        UsageError: The split is unknown.
        DataError: The split has no image, or the store is damaged.
    """
    by_image: dict[int, list[int]] = {}
    for row in store.refs(split).tolist():
        by_image.setdefault(store.ref(row).image, []).append(row)
    if not by_image:
        raise DataError(f"the split {split!r} of {store.path} has no picture to show")
    chosen = sorted(np.random.default_rng(seed).permutation(sorted(by_image)).tolist()[:count])
    clips = ClipStore(store) if is_video_store(store) else None
    panels, entries = [], []
    for image in chosen:
        shown, masks = _masks(store, clips, image, by_image[image])
        panel, entry = _panel(store, shown, by_image[image], masks, text_field=text_field)
        panels.append(panel)
        entries.append(entry)
    name = f"{store.name} ({store.split_by})" if store.split_by else store.name
    what = "videos" if clips else "pictures"
    title = f"{name}, split {split}: {len(chosen)} of {len(by_image)} {what}, chosen by seed {seed}"
    return ContactSheet(pixels=grid(panels, columns=columns, heading=[Caption(text=title)]), entries=entries)


def _masks(store: Store, clips: ClipStore | None, image: int, refs: Sequence[int]) -> tuple[int, list[np.ndarray]]:
    """Returns the image to show and the mask of each ref in it."""
    if clips is None:
        return image, [rle.decode(store.mask(row)) for row in refs]
    objects = [clips.ref(row) for row in refs]
    # The frame that shows most of the objects; of equal ones the middle one.
    counts = {frame: sum(frame in scene_object.annotations for scene_object in objects) for frame in objects[0].frames}
    best = [frame for frame, count in counts.items() if count == max(counts.values())]
    frame = best[len(best) // 2]
    return frame, [clips.masks(scene_object, [frame])[0] for scene_object in objects]


def _panel(
    store: Store, image: int, refs: Sequence[int], masks: Sequence[np.ndarray], *, text_field: TextField
) -> tuple[np.ndarray, dict[str, Any]]:
    record = store.image(image)
    shown, left_out = refs[: len(COLOURS)], len(refs) - len(COLOURS)
    scaled, small = fit_image(store.pixels(image), masks[: len(shown)], width=_CELL, height=_CELL)
    captions, entries = [], []
    for index, (row, mask) in enumerate(zip(shown, small, strict=True)):
        ref = store.ref(row)
        texts = [store.sentence(int(sentence)).text(text_field) for sentence in ref.sentences]
        more = f" (+{len(texts) - _MAX_TEXTS})" if len(texts) > _MAX_TEXTS else ""
        no_target = "" if ref.annotations else " (nothing)"
        listed = " | ".join(texts[:_MAX_TEXTS]) + more + no_target
        captions.append(Caption(text=listed, colour=colour(index), filled=bool(mask.any())))
        entries.append({"ref_id": ref.ref_id, "annotations": len(ref.annotations), "texts": texts})
    if left_out > 0:
        captions.append(Caption(text=f"and {left_out} more"))
    captions.append(Caption(text=f"image {record.image_id}: {record.file_name}"))
    drawn = with_captions(overlay(scaled, small, tint=_TINT), captions, size=_FONT_SIZE, width=_CELL)
    return drawn, {"image_id": record.image_id, "file_name": record.file_name, "refs": entries}
