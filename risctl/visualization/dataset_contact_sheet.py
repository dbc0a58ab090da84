"""Some pictures of a store with everything that its expressions mean, on one sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from risctl.data.store.clips import ClipStore, is_video_store
from risctl.data.store.reader import Store, TextField
from risctl.errors import DataError
from risctl.vision import rle
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import fitted, grid
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import COLOURS, colour

_CELL, _LETTERS = 340, 14
# Little, so that what expressions call white is not blue on the sheet.
_TINT = 0.12
# Expressions listed of one thing; a picture lists as many things as there are colours.
_TEXTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnData:
    """sheet: uint8 (H, W, 3); pictures: those on it, as JSON values."""

    sheet: np.ndarray
    pictures: list[dict[str, Any]]


def draw_dataset(
    store: Store, *, split: str, count: int = 24, seed: int = 0, text_field: TextField = "sent", columns: int = 4
) -> DrawnData:
    """Draw `count` pictures of `split`, chosen by `seed`: what the refs of the split mean, and in which words.

    Each thing has a colour, its mask in the picture and its expressions below; a hollow patch stands for an expression
    that means nothing in the picture. Of a video a frame is shown that has the things. Raises `UsageError` for an
    unknown split, `DataError` for one without pictures or a damaged store.
    """
    by_image: dict[int, list[int]] = {}
    for row in store.refs(split).tolist():
        by_image.setdefault(store.ref(row).image, []).append(row)
    if not by_image:
        raise DataError(f"the split {split!r} of {store.path} has no picture to show")
    order = np.random.default_rng(seed).permutation(sorted(by_image)).tolist()
    chosen = sorted(order[:count])
    clips = ClipStore(store) if is_video_store(store) else None
    panels, pictures = [], []
    for image in chosen:
        shown, masks = _masks(store, clips, image, by_image[image])
        panel, told = _panel(store, shown, by_image[image], masks, text_field=text_field)
        panels.append(panel)
        pictures.append(told)
    name = f"{store.name} ({store.split_by})" if store.split_by else store.name
    what = "videos" if clips else "pictures"
    title = f"{name}, split {split}: {len(chosen)} of {len(by_image)} {what}, chosen by seed {seed}"
    return DrawnData(sheet=grid(panels, columns=columns, heading=[Caption(text=title)]), pictures=pictures)


def _masks(store: Store, clips: ClipStore | None, image: int, refs: Sequence[int]) -> tuple[int, list[np.ndarray]]:
    """Return the image to show and the mask of each ref in it."""
    if clips is None:
        return image, [rle.decode(store.mask(row)) for row in refs]
    things = [clips.ref(row) for row in refs]
    # The frame that shows most of the things; of equal ones the middle one.
    seen = {frame: sum(frame in one.annotations for one in things) for frame in things[0].frames}
    best = [frame for frame, number in seen.items() if number == max(seen.values())]
    frame = best[len(best) // 2]
    return frame, [clips.masks(one, [frame])[0] for one in things]


def _panel(
    store: Store, image: int, refs: Sequence[int], masks: Sequence[np.ndarray], *, text_field: TextField
) -> tuple[np.ndarray, dict[str, Any]]:
    about = store.image(image)
    shown, left = refs[: len(COLOURS)], len(refs) - len(COLOURS)
    picture, small = fitted(store.pixels(image), masks[: len(shown)], width=_CELL, height=_CELL)
    captions, told = [], []
    for place, (row, mask) in enumerate(zip(shown, small, strict=True)):
        ref = store.ref(row)
        texts = [store.sentence(int(one)).text(text_field) for one in ref.sentences]
        more = f" (+{len(texts) - _TEXTS})" if len(texts) > _TEXTS else ""
        nothing = "" if ref.annotations else " (nothing)"
        said = " | ".join(texts[:_TEXTS]) + more + nothing
        captions.append(Caption(text=said, colour=colour(place), filled=bool(mask.any())))
        told.append({"ref_id": ref.ref_id, "annotations": len(ref.annotations), "texts": texts})
    if left > 0:
        captions.append(Caption(text=f"and {left} more"))
    captions.append(Caption(text=f"image {about.image_id}: {about.file_name}"))
    drawn = with_captions(overlay(picture, small, tint=_TINT), captions, size=_LETTERS, width=_CELL)
    return drawn, {"image_id": about.image_id, "file_name": about.file_name, "refs": told}
