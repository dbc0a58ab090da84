"""A small SA-Co/VEval in the published layout, and SAM 3's predictions for it, with counts that are known by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from risctl.vision import rle

SIDE, FRAMES = 10, 4
PHRASES = {7: "a box", 9: "a cat", 11: "the left ball"}


def drawn(rows: slice, columns: slice) -> np.ndarray:
    """Returns a mask, bool (SIDE, SIDE), set in a rectangle."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[rows, columns] = True
    return mask


A, HALF_A = drawn(slice(0, 4), slice(0, 4)), drawn(slice(0, 2), slice(0, 4))
B = drawn(slice(6, 10), slice(6, 10))
COLUMN = drawn(slice(0, 10), slice(5, 6))

TRACKS: Mapping[tuple[int, int], Sequence[Sequence[np.ndarray | None]]] = {
    (0, 7): ([A, A, A, A], [B, B, None, None]),
    (0, 11): ([COLUMN] * 4,),
    (1, 9): ([None, A, A, None],),
}
"""The tracks of each positive pair; (0, 9) and (1, 7) are negative."""

PREDICTED: Sequence[tuple[tuple[int, int], float, Sequence[np.ndarray | None]]] = (
    ((0, 7), 0.9, [A, A, A, HALF_A]),  # IoU 56/64
    ((0, 7), 0.6, [B, None, B, None]),  # IoU 16/48
    ((0, 7), 0.4, [B, B, None, None]),  # does not count
    ((0, 11), 0.5, [COLUMN] * 4),
    ((1, 7), 0.8, [None, None, A, None]),  # of a negative pair
)
"""What is predicted; nothing is for (1, 9)."""


def segmentations(masks: Sequence[np.ndarray | None]) -> list[Any]:
    return [None if mask is None else dict(rle.encode(mask)) for mask in masks]


def write_veval(root: Path, *, splits: Sequence[str] = ("sav_val",), videos: int = 2) -> Path:
    """Writes the layout with a file for each split; the videos of a split have names of their own."""
    (root / "annotation").mkdir(parents=True)
    for split in splits:
        domain = "saco_sav" if split.startswith("sav") else "saco_sg"
        listed = []
        for number in range(videos):
            name = f"{split}_{number:06d}"
            folder = root / "media" / domain / "JPEGImages_24fps" / name
            folder.mkdir(parents=True)
            for frame in range(4 * FRAMES - 3):  # each fourth frame is annotated
                Image.new("RGB", (SIDE, SIDE), (9 * frame, 90, 90)).save(folder / f"{frame:05d}.jpg")
            names = [f"{name}/{4 * frame:05d}.jpg" for frame in range(FRAMES)]
            about = {"id": number, "video_name": name, "file_names": names, "length": FRAMES}
            listed.append(about | {"height": SIDE, "width": SIDE})
        content = {
            "info": {"version": "v1", "description": f"SA-Co/VEval {split}"},
            "videos": listed,
            "annotations": [
                {
                    "id": number,
                    "video_id": video,
                    "category_id": category,
                    "noun_phrase": PHRASES[category],
                    "segmentations": segmentations(masks),
                    "iscrowd": 0,
                }
                for number, ((video, category), masks) in enumerate(
                    (pair, one) for pair, tracks in TRACKS.items() for one in tracks
                )
            ],
            "categories": [{"id": number, "name": name} for number, name in PHRASES.items()],
            "video_np_pairs": [
                {
                    "id": number,
                    "video_id": video,
                    "category_id": category,
                    "noun_phrase": PHRASES[category],
                    "num_masklets": len(TRACKS.get((video, category), ())),
                }
                for number, (video, category) in enumerate([(1, 9), (0, 9), (0, 11), (1, 7), (0, 7)])
            ],
        }
        (root / "annotation" / f"saco_veval_{split}.json").write_text(json.dumps(content))
    return root


def write_predictions(path: Path) -> Path:
    """Writes `PREDICTED` as SAM 3's `NAME_preds.json`."""
    entries = [
        {
            "video_id": video,
            "category_id": category,
            "bboxes": [[0, 0, 4, 4]] * FRAMES,
            "score": score,
            "segmentations": segmentations(masks),
            "areas": [0 if mask is None else int(mask.sum()) for mask in masks],
        }
        for (video, category), score, masks in PREDICTED
    ]
    path.write_text(json.dumps(entries))
    return path


def stated() -> dict[str, float]:
    """Returns the figures by SAM 3's formulas from counts made by hand, in percent.

    By threshold of IoU: two hits up to .85, one at .90 and .95. Of the positive pairs one prediction is false (two at
    .90 and .95), and two of four tracks are missed (three). Two pairs are found rightly, one absent rightly, one
    wrongly found, one missed.
    """
    hits = np.array([2.0] * 8 + [1.0] * 2)
    false = np.array([1.0] * 8 + [2.0] * 2)
    precision, recall = hits / (hits + false + 1e-4), hits / (4 + 1e-4)
    f1 = 2 * precision * recall / (precision + recall + 1e-4)
    mcc = (2 * 1 - 1 * 1) / (np.sqrt(3 * 3 * 2 * 2) + 1e-6)
    return {
        "cgF1": 100 * float((f1 * mcc).mean()),
        "positive_micro_F1": 100 * float(f1.mean()),
        "IL_MCC": 100 * float(mcc),
        "cgF1@0.5": 100 * float(f1[0] * mcc),
        "IL_precision": 100 * 2 / (3 + 1e-6),
        "IL_FPR": 100 * 1 / (2 + 1e-6),
    }
