"""Reads expressions with the boxes of their images, without pixels: parts of RefCOCO, and ReferItGame.

Three published forms are read. RefCOCO's train sample has expressions with a box and a hand-checked parse, beside all
COCO boxes of their images. RefCOCO's evaluation splits in MiniGPT-4's form are alike. ReferItGame has expressions and
the boxes of all annotated regions, whose class is known only by what people called them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from risctl.data.box_grounding.samples import UNKNOWN, BoxGroundingSample, ImageBoxes
from risctl.data.datasets.coco_phrases.lexicon import NOUNS, nouns, plural
from risctl.errors import DataError
from risctl.json_text import parse_json
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
    """Returns the samples of the train sample in `folder`, without those about the images `exclude`.

    Raises:
        DataError: A file is missing or of another form.
    """
    boxes_of_image = _boxes_by_image(folder / "train_boxes.json")
    samples = []
    for name in _SAMPLE_FILES:
        for row in _rows(folder / name):
            image_id = _image_id(row["image"])
            if image_id in exclude or image_id not in boxes_of_image:
                continue
            boxes, raw = boxes_of_image[image_id]
            target = _index_of(raw, row["bbox"])
            if target is not None:
                colours = referred_colours(row["phrase"], parsed=row["atts"].get("r2", ()))
                samples.append(BoxGroundingSample(boxes=boxes, text=row["phrase"], targets=(target,), colours=colours))
    return samples


def read_evaluation(folder: Path, split: str) -> list[BoxGroundingSample]:
    """Returns the samples of an evaluation split, such as "refcoco+_testA".

    Raises:
        DataError: A file is missing or of another form.
    """
    boxes_of_image = _boxes_by_image(folder / "eval_boxes.json")
    samples = []
    for row in _rows(folder / f"{split}.json"):
        boxes, raw = boxes_of_image[_image_id(row["img_id"])]
        target = _index_of(raw, row["bbox"])
        if target is None:
            raise DataError(f"{folder / f'{split}.json'}: the box of {row['img_id']!r} is not among its picture's")
        samples.append(BoxGroundingSample(boxes=boxes, text=row["sents"], targets=(target,)))
    return samples


def evaluation_images(folder: Path) -> set[int]:
    """Returns the ids of the images of all evaluation splits, which training has to leave out."""
    return set(_boxes_by_image(folder / "eval_boxes.json"))


def read_referitgame(folder: Path, *, split: str = "train") -> list[BoxGroundingSample]:
    """Returns ReferItGame's samples of `split` (train, val or test).

    The class of a region is that of the first COCO noun that people called it by, if there is one, else unknown.
    """
    corners_of, crops = _json(folder / "referit_bbox.json"), _json(folder / "referit_imcrop.json")
    sizes, queries = _json(folder / "referit_imsize.json"), _json(folder / f"referit_query_{split}.json")
    category_ids = _category_ids_by_noun()
    samples = []
    for image, regions in crops.items():
        known = [region for region in regions if region in corners_of]
        if image not in sizes or not any(region in queries for region in known):
            continue
        width, height = sizes[image]
        corners = np.array([corners_of[region] for region in known], dtype=np.float32) / [width, height, width, height]
        boxes = ImageBoxes(
            corners=corners.astype(np.float32).clip(0, 1),
            category_ids=np.array([_category_id(queries.get(region, ()), category_ids) for region in known]),
            aspect=width / height,
        )
        for index, region in enumerate(known):
            for text in queries.get(region, ()):
                samples.append(
                    BoxGroundingSample(boxes=boxes, text=text, targets=(index,), colours=referred_colours(text))
                )
    return samples


def referred_colours(text: str, *, parsed: Sequence[str] = ()) -> tuple[str, ...] | None:
    """Returns the colour that `text` gives to the referred object: () if it names none, None if that is ambiguous.

    A colour counts if a parse gives it to the head, in "in red" and "red shirt", and as the first word.
    """
    words = re.findall(r"[a-z]+", text.lower().replace("grey", "gray"))
    named = [index for index, word in enumerate(words) if word in NAMES]
    if not named:
        return ()
    if len({words[index] for index in named}) > 1:
        return None
    index = named[0]
    before = words[index - 1] if index else ""
    after = words[index + 1] if index + 1 < len(words) else ""
    # "orange" is a fruit too.
    if words[index] == "orange" and not after:
        return None
    plain = words[index] in parsed or before in ("in", "wearing") or after in _CLOTHES or index == 0
    return (words[index],) if plain else None


def _boxes_by_image(path: Path) -> dict[int, tuple[ImageBoxes, np.ndarray]]:
    """Returns the boxes by image id, and the published ones, (N, 4) xywh in pixels."""
    found = {}
    for image_id, entry in _json(path).items():
        if not entry["boxes"]:
            continue
        raw = np.array([box[1:] for box in entry["boxes"]], dtype=np.float64)
        corners = np.concatenate([raw[:, :2], raw[:, :2] + raw[:, 2:]], 1)
        width, height = entry["width"], entry["height"]
        boxes = ImageBoxes(
            corners=(corners / [width, height, width, height]).astype(np.float32),
            category_ids=np.array([COCO_INDEX[int(box[0])] for box in entry["boxes"]]),
            aspect=width / height,
        )
        found[int(image_id)] = (boxes, raw)
    return found


def _index_of(raw: np.ndarray, box: Sequence[float]) -> int | None:
    distances = np.abs(raw - np.asarray(box)).sum(1)
    nearest = int(distances.argmin())
    return nearest if distances[nearest] < _NEAR else None


def _category_ids_by_noun() -> dict[str, int]:
    category_ids: dict[str, tuple[float, int]] = {}
    for index, category in enumerate(NOUNS):
        for noun, weight in nouns(category):
            for form in (noun, plural(noun)):
                if form not in _VAGUE and " " not in form and weight > category_ids.get(form, (0.0, 0))[0]:
                    category_ids[form] = (weight, index)
    return {noun: index for noun, (_, index) in category_ids.items()} | {"people": 0}


def _category_id(texts: Sequence[str], category_ids: Mapping[str, int]) -> int:
    for text in texts:
        for word in re.findall(r"[a-z]+", text.lower()):
            if word in category_ids:
                return category_ids[word]
    return UNKNOWN


def _image_id(name: str) -> int:
    match = re.search(r"_(\d{12})", name)
    if match is None:
        raise DataError(f"expected the name of a COCO picture such as COCO_train2014_000000000009, got {name!r:.60}")
    return int(match.group(1))


def _rows(path: Path) -> list[dict[str, Any]]:
    rows = _json(path)
    if not isinstance(rows, list):
        raise DataError(f"{path} holds no list of expressions")
    return rows


def _json(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); get the file again") from error
