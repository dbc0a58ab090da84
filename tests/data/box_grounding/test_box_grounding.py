"""Questions about boxes: read as published, made of boxes alone, and disturbed soundly."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risctl.data.box_grounding.noise import BoxNoise, with_colours, with_detector_noise
from risctl.data.box_grounding.samples import UNKNOWN, BoxGroundingSample, ImageBoxes
from risctl.data.datasets.coco_phrases.about_boxes import CATEGORIES, phrases_about
from risctl.data.datasets.refcoco_boxes import (
    COCO_INDEX,
    evaluation_images,
    read_evaluation,
    read_referitgame,
    read_train_sample,
    referred_colours,
)
from risctl.errors import DataError
from risctl.vision.colour_names import NAMES


def image_boxes(count: int = 5, *, seed: int = 0, kinds: int = 2) -> ImageBoxes:
    generator = np.random.default_rng(seed)
    low = generator.random((count, 2)) * 0.7
    corners = np.concatenate([low, low + 0.1 + 0.2 * generator.random((count, 2))], 1).astype(np.float32)
    return ImageBoxes(corners=corners, category_ids=generator.integers(0, kinds, count), aspect=1.5)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 12))
def test_disturbed_questions_mean_the_same_boxes(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    own = image_boxes(count, seed=seed)
    targets = tuple(sorted({0, count - 1}))
    sample = BoxGroundingSample(boxes=own, text="left man", targets=targets, colours=("red",))
    strong = BoxNoise(flip=0.0, drop=1.0, detector=1.0, colours=1.0)
    changed = strong(sample, generator, classes=3)
    assert len(changed.targets) == len(targets)
    for before, after in zip(targets, changed.targets, strict=True):
        assert changed.boxes.category_ids[after] == own.category_ids[before]
        assert np.abs(changed.boxes.corners[after] - own.corners[before]).max() < 0.2
    corners = changed.boxes.corners
    assert corners.min() >= 0 and corners.max() <= 1 and (corners[:, 2:] >= corners[:, :2]).all()
    assert changed.boxes.confidence is not None and len(changed.boxes.confidence) == len(corners)
    assert changed.boxes.appearance is not None and changed.boxes.appearance.shape == (len(corners), 2 * len(NAMES))


def test_mirroring_twice_is_nothing() -> None:
    sample = BoxGroundingSample(boxes=image_boxes(), text="left man", targets=(1,))
    mirrored = sample.mirrored()
    assert mirrored.text == "right man"
    assert np.allclose(mirrored.boxes.corners[:, 0], 1 - sample.boxes.corners[:, 2])
    assert np.allclose(mirrored.mirrored().boxes.corners, sample.boxes.corners, atol=1e-6)


def test_found_boxes_differ_from_known_ones() -> None:
    generator = np.random.default_rng(0)
    sample = BoxGroundingSample(boxes=image_boxes(8), text="left man", targets=(1,))
    found = [with_detector_noise(sample, generator, classes=3).boxes for _ in range(60)]
    sizes = [len(one.category_ids) for one in found]
    assert max(sizes) > 12 and max(sizes) - min(sizes) > 5
    sureness = np.concatenate([one.confidence for one in found if one.confidence is not None])
    assert sureness.min() >= 0 and sureness.max() <= 1 and sureness.std() > 0.2


def test_made_up_colours_agree_with_the_phrase() -> None:
    generator = np.random.default_rng(0)
    sample = BoxGroundingSample(boxes=image_boxes(4), text="man in red", targets=(2,), colours=("red",))
    looks = [with_colours(sample, generator).boxes.appearance for _ in range(100)]
    red = np.stack([look for look in looks if look is not None]).reshape(100, 4, 2, -1)[..., NAMES.index("red")].max(2)
    assert (red.argmax(1) == 2).mean() > 0.9
    unplain = BoxGroundingSample(boxes=image_boxes(4), text="man by the red car", targets=(2,), colours=None)
    assert with_colours(unplain, generator).boxes.appearance is None


@pytest.mark.parametrize(
    ("text", "colours"),
    [
        *(("man in red", ("red",)), ("white car", ("white",)), ("guy with black shirt on left", ("black",))),
        *(("man", ()), ("man left of red car", None), ("black and white dog", None), ("right orange", None)),
        ("grey cat", ("gray",)),
    ],
)
def test_colours_that_a_phrase_says_of_what_it_means(text: str, colours: tuple[str, ...] | None) -> None:
    assert referred_colours(text) == colours


def test_phrases_about_boxes_alone() -> None:
    assert len(CATEGORIES) == 80 and set(COCO_INDEX.values()) == set(range(80))
    assert COCO_INDEX[1] == CATEGORIES.index("person") and COCO_INDEX[90] == CATEGORIES.index("toothbrush")
    made = phrases_about(image_boxes(6), random.Random(0), count=160)
    assert {len(one.targets) for one in made} >= {0, 1, 2}
    again = phrases_about(image_boxes(6), random.Random(0), count=160)
    assert [(one.text, one.targets) for one in made] == [(one.text, one.targets) for one in again]
    with pytest.raises(ValueError, match="known classes"):
        unknown = ImageBoxes(corners=image_boxes(1).corners, category_ids=np.array([UNKNOWN]), aspect=1.0)
        phrases_about(unknown, random.Random(0), count=1)


def test_the_published_files(shared: Path) -> None:
    sample, kept_away = shared / "data" / "refcoco_train_sample", evaluation_images(shared / "data" / "refcoco_eval")
    assert len(kept_away) == 6549
    assert len(read_train_sample(sample)) == 11_458
    assert len(read_train_sample(sample, exclude=kept_away)) == 10_239
    assert len(read_evaluation(shared / "data" / "refcoco_eval", "refcoco_testB")) == 5095
    assert len(read_referitgame(shared / "data" / "referitgame", split="val")) == 5842


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train_boxes"):
        read_train_sample(tmp_path)
    (tmp_path / "eval_boxes.json").write_text("{")
    with pytest.raises(DataError, match="eval_boxes"):
        read_evaluation(tmp_path, "refcoco_val")
    (tmp_path / "eval_boxes.json").write_text(
        json.dumps({"7": {"width": 10, "height": 10, "boxes": [[1, 0, 0, 5, 5]]}})
    )
    row = {"img_id": "COCO_train2014_000000000007_1", "sents": "man", "bbox": [4, 4, 5, 5]}
    (tmp_path / "refcoco_val.json").write_text(json.dumps([row]))
    with pytest.raises(DataError, match="not among"):
        read_evaluation(tmp_path, "refcoco_val")
