"""Reading expressions with the boxes of their pictures, but without pixels: parts of RefCOCO, and ReferItGame.

Three published forms. RefCOCO's train sample: expressions with box and a hand-checked parse, beside all COCO boxes of
their pictures. RefCOCO's evaluation splits in MiniGPT-4's form, likewise. ReferItGame: expressions, and the boxes of
all annotated regions, whose kind is unknown but for what people called them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.box_grounding.samples import UNKNOWN, BoxGroundingSample, ImageBoxes
from risctl.data.datasets.coco_phrases.lexicon import NOUNS, nouns, plural
from risctl.errors import DataError
from risctl.vision.colour_names import NAMES

# COCO's ids of its 80 classes leave out 10 of 90.
_ABSENT_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_INDEX: Mapping[int, int] = {one: index for index, one in enumerate(sorted(set(range(1, 91)) - _ABSENT_IDS))}
"""COCO's category id to the index of the class."""
EVALUATION_SPLITS = (
    *("refcoco_val", "refcoco_testA", "refcoco_testB", "refcoco+_val", "refcoco+_testA", "refcoco+_testB"),
    *("refcocog_val", "refcocog_test"),
)
_SAMPLE_FILES = ("my_test_split.json", "my_val_split.json")
_NEAR = 2.0  # pixels, summed over a box's four numbers, within which two boxes are one
_CLOTHES = frozenset(
    (
        *("shirt", "jacket", "coat", "top", "sweater", "hoodie", "dress", "shorts", "pants", "jeans", "jersey"),
        *("outfit", "suit", "vest"),
    )
)
# Nouns that say too little of a region to give it a COCO class.
_VAGUE = frozenset(
    (
        *("piece", "food", "half", "pie", "case", "trunk", "light", "drink", "slice", "fruit", "animal", "pot"),
        *("disc", "tree", "flower", "flowers", "sign", "sub", "bread", "bunch", "board", "wine", "top"),
    )
)


def read_train_sample(folder: Path, *, exclude: Collection[int] = ()) -> list[BoxGroundingSample]:
    """Returns the questions of the train sample in `folder`, without those about the pictures `exclude`.

    Raises `DataError` naming the file that is missing or of another form.
    """
    pictures = _pictures(folder / "train_boxes.json")
    questions = []
    for name in _SAMPLE_FILES:
        for row in _rows(folder / name):
            image_id = _image_id(row["image"])
            if image_id in exclude or image_id not in pictures:
                continue
            picture, raw = pictures[image_id]
            target = _index_of(raw, row["bbox"])
            if target is not None:
                colours = own_colours(row["phrase"], parsed=row["atts"].get("r2", ()))
                questions.append(
                    BoxGroundingSample(boxes=picture, text=row["phrase"], targets=(target,), colours=colours)
                )
    return questions


def read_evaluation(folder: Path, split: str) -> list[BoxGroundingSample]:
    """Returns the questions of an evaluation split, such as "refcoco+_testA". Raises `DataError` as above."""
    pictures = _pictures(folder / "eval_boxes.json")
    questions = []
    for row in _rows(folder / f"{split}.json"):
        picture, raw = pictures[_image_id(row["img_id"])]
        target = _index_of(raw, row["bbox"])
        if target is None:
            raise DataError(f"{folder / f'{split}.json'}: the box of {row['img_id']!r} is not among its picture's")
        questions.append(BoxGroundingSample(boxes=picture, text=row["sents"], targets=(target,)))
    return questions


def evaluation_images(folder: Path) -> set[int]:
    """Returns the ids of the pictures of all evaluation splits, for training to keep away from."""
    return set(_pictures(folder / "eval_boxes.json"))


def read_referitgame(folder: Path, *, split: str = "train") -> list[BoxGroundingSample]:
    """Returns ReferItGame's questions of `split` (train, val or test).

    A region's kind is the COCO class of the first noun that people called it by, where there is one, else unknown.
    """
    boxes, crops = _json(folder / "referit_bbox.json"), _json(folder / "referit_imcrop.json")
    sizes, queries = _json(folder / "referit_imsize.json"), _json(folder / f"referit_query_{split}.json")
    kinds = _kinds_by_noun()
    questions = []
    for image, regions in crops.items():
        known = [region for region in regions if region in boxes]
        if image not in sizes or not any(region in queries for region in known):
            continue
        width, height = sizes[image]
        corners = np.array([boxes[region] for region in known], dtype=np.float32) / [width, height, width, height]
        picture = ImageBoxes(
            corners=corners.astype(np.float32).clip(0, 1),
            category_ids=np.array([_kind(queries.get(region, ()), kinds) for region in known]),
            aspect=width / height,
        )
        for place, region in enumerate(known):
            for text in queries.get(region, ()):
                questions.append(
                    BoxGroundingSample(boxes=picture, text=text, targets=(place,), colours=own_colours(text))
                )
    return questions


def own_colours(text: str, *, parsed: Sequence[str] = ()) -> tuple[str, ...] | None:
    """Returns the colour that `text` says of what it means, () if it names none, None if that is not plain.

    Plain are: a colour that a parse gives to the head; "in red", "red shirt"; a colour as the first word.
    """
    words = re.findall(r"[a-z]+", text.lower().replace("grey", "gray"))
    named = [place for place, word in enumerate(words) if word in NAMES]
    if not named:
        return ()
    if len({words[place] for place in named}) > 1:
        return None
    place = named[0]
    before = words[place - 1] if place else ""
    after = words[place + 1] if place + 1 < len(words) else ""
    # "orange" is a fruit too.
    if words[place] == "orange" and not after:
        return None
    plain = words[place] in parsed or before in ("in", "wearing") or after in _CLOTHES or place == 0
    return (words[place],) if plain else None


def _pictures(path: Path) -> dict[int, tuple[ImageBoxes, np.ndarray]]:
    """Returns by picture id the boxes, and the same as published, (N, 4) xywh in pixels."""
    found = {}
    for image_id, entry in _json(path).items():
        if not entry["boxes"]:
            continue
        raw = np.array([box[1:] for box in entry["boxes"]], dtype=np.float64)
        corners = np.concatenate([raw[:, :2], raw[:, :2] + raw[:, 2:]], 1)
        width, height = entry["width"], entry["height"]
        picture = ImageBoxes(
            corners=(corners / [width, height, width, height]).astype(np.float32),
            category_ids=np.array([COCO_INDEX[int(box[0])] for box in entry["boxes"]]),
            aspect=width / height,
        )
        found[int(image_id)] = (picture, raw)
    return found


def _index_of(raw: np.ndarray, box: Sequence[float]) -> int | None:
    distances = np.abs(raw - np.asarray(box)).sum(1)
    nearest = int(distances.argmin())
    return nearest if distances[nearest] < _NEAR else None


def _kinds_by_noun() -> dict[str, int]:
    kinds: dict[str, tuple[float, int]] = {}
    for index, category in enumerate(NOUNS):
        for noun, weight in nouns(category):
            for form in (noun, plural(noun)):
                if form not in _VAGUE and " " not in form and weight > kinds.get(form, (0.0, 0))[0]:
                    kinds[form] = (weight, index)
    return {noun: index for noun, (_, index) in kinds.items()} | {"people": 0}


def _kind(texts: Sequence[str], kinds: Mapping[str, int]) -> int:
    for text in texts:
        for word in re.findall(r"[a-z]+", text.lower()):
            if word in kinds:
                return kinds[word]
    return UNKNOWN


def _image_id(name: str) -> int:
    match = re.search(r"_(\d{12})", name)
    if match is None:
        raise DataError(f"expected a COCO picture's name such as COCO_train2014_000000000009, got {name!r:.60}")
    return int(match.group(1))


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = _json(path)
    if not isinstance(rows, list):
        raise DataError(f"{path} holds no list of expressions")
    return rows


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is no JSON ({error}); get the file again") from error
